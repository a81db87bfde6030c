"""Architectures by name. Every one takes float images [B, C, H, W] and gives logits [B, classes]."""

from torch import nn

from kd import catalog
from kd.models import resnet, small, wrn


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A new model for images of `shape` (channels, height, width), its weights drawn from torch's global generator."""
    if arch not in catalog.MODELS:
        raise ValueError(catalog.unknown("model", arch, catalog.MODELS))
    if arch in catalog.CIFAR_RESNETS:
        return resnet.build(arch, classes, shape)
    if arch in catalog.WIDE_RESNETS:
        return wrn.build(arch, classes, shape)
    if arch in catalog.TORCHVISION:
        from kd.models import torchvision  # a second to import, so only for those who ask

        return torchvision.build(arch, classes, shape)
    return small.build(arch, classes, shape)
