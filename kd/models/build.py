"""Architectures by name. Every one takes float images [B, C, H, W] and gives logits [B, classes]."""

from importlib import import_module

import torch
from torch import nn

from kd.models.catalog import family_of, why_unknown
from kd.models.own import names as own_names


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A new model for images of `shape` (channels, height, width), its weights drawn from torch's global generator."""
    if (why := why_unknown(arch)) and not own_names.is_own(arch):  # of one's own it is no slip, but not installed
        raise ValueError(why)
    # By name, and only now: torchvision takes a second to import, which is for those who ask for it.
    family = import_module(family_of(arch).module)
    return family.build(arch, classes, shape)  # type: ignore[no-any-return]


def outline(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A model that is all shapes and no weights, where it can be had: a large one takes seconds to make for real."""
    if own_names.is_own(arch):  # its code may ask a tensor what is in it
        return build(arch, classes, shape)
    try:
        with torch.device("meta"):
            return build(arch, classes, shape)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return build(arch, classes, shape)
