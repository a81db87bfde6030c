"""Images of noise, the same each time."""

import torch
from torch import Tensor


def pictures(count: int, channels: int, height: int, width: int) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def some_images(count: int = 50, channels: int = 3, height: int = 6, width: int = 5) -> Tensor:
    return pictures(count, channels, height, width)
