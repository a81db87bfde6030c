"""Architectures by name. Every one takes float images [B, C, H, W] and gives logits [B, classes]."""

from torch import nn

from kd import nearest
from kd.models import resnet, small, wrn
from kd.models.catalog import CIFAR_RESNETS, MODELS, TORCHVISION, WIDE_RESNETS


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A new model for images of `shape` (channels, height, width), its weights drawn from torch's global generator."""
    if arch not in MODELS:
        raise ValueError(nearest.unknown("model", arch, MODELS))
    if arch in CIFAR_RESNETS:
        return resnet.build(arch, classes, shape)
    if arch in WIDE_RESNETS:
        return wrn.build(arch, classes, shape)
    if arch in TORCHVISION:
        from kd.models import torchvision  # a second to import, so only for those who ask

        return torchvision.build(arch, classes, shape)
    return small.build(arch, classes, shape)
