"""Architectures by name. Every one takes float images [B, C, H, W] and gives logits [B, classes]."""

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd.errors import NotPublished
from kd.models.catalog import family_of, why_unknown
from kd.models.own import names as own_names


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A new model for images of `shape` (channels, height, width), its weights drawn from torch's global generator."""
    return _family(arch).build(arch, classes, shape)  # type: ignore[no-any-return]


def build_bare(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The same without what would make smaller or gray images fit the network: for weights that have learnt from images
    of this very `shape`."""
    family = _family(arch)
    return getattr(family, "build_bare", family.build)(arch, classes, shape)  # type: ignore[no-any-return]


def published(arch: str, classes: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The weights that whoever made an architecture publishes of it, as they are for images of `shape`; what depends on
    the number of classes may be anything. Nothing is fetched: raises `NotPublished` unless it is in their cache."""
    family = _family(arch)
    if not hasattr(family, "published"):
        raise NotPublished(f"nobody publishes weights of {arch}: of torchvision/… and timm/… there are some")
    return family.published(arch, classes, shape)  # type: ignore[no-any-return]


def _family(arch: str) -> ModuleType:
    if (why := why_unknown(arch)) and not own_names.is_own(arch):  # of one's own it is no slip, but not installed
        raise ValueError(why)
    # By name, and only now: torchvision takes a second to import, which is for those who ask for it.
    return import_module(family_of(arch).module)


class Seen(NamedTuple):
    """The images that a network takes: of which shape, and whether it takes them as they are, see `build_bare`."""

    shape: tuple[int, int, int]
    bare: bool = False


def outline(arch: str, classes: int, shape: tuple[int, int, int], *, bare: bool = False) -> nn.Module:
    """A model that is all shapes and no weights, where it can be had: a large one takes seconds to make for real."""
    make = build_bare if bare else build
    if own_names.is_own(arch):  # its code may ask a tensor what is in it
        return make(arch, classes, shape)
    try:
        with torch.device("meta"):
            return make(arch, classes, shape)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return make(arch, classes, shape)
