"""A model as after a training, at the price of one batch, and images for it."""

import torch
from torch import Tensor, nn

from kd.models.build import build


def born(arch: str, shape: tuple[int, int, int] = (3, 32, 32)) -> nn.Module:
    """A model as after a training: its normalisations have statistics, weights and biases that matter."""
    torch.manual_seed(0)
    model = build(arch, 10, shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 1.0  # one batch is enough to know what comes in
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, module.in_features**-0.5)
    model = model.to(memory_format=torch.channels_last).train()
    with torch.no_grad():
        model(torch.randn(8, *shape) + 0.5)
    return model


def images(count: int = 4, shape: tuple[int, int, int] = (3, 32, 32)) -> Tensor:
    pixels = torch.randn(count, *shape, generator=torch.Generator().manual_seed(2))
    return pixels.contiguous(memory_format=torch.channels_last)
