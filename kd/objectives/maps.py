"""Distances between the maps that end a student's stages and those of a teacher's.

Of two maps the larger one is pooled to the size of the smaller; those of `reviewkd` are of one size already. Everything
is computed with autocast off. The teacher is never trained here.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.objectives.logits import autocast_off, exact

# Shapes: B = batch, C = channels, H, W = height and width, K = H·W.

Maps = tuple[Tensor, ...]

# What the literature weighs them by, so that a `soft_weight` around 1 is right for every method.
FITNET_WEIGHT, AT_WEIGHT = 100, 1_000

CONTEXTS = (4, 2, 1)
"""The sides of the maps that `reviewkd` pools to."""


def fitnet(student: Maps, teacher: Maps, *, stage: int) -> Tensor:
    """FitNets' hint (Romero et al., 2015): the mean square of what a regressor, trained with the student, makes of its
    map at the end of a stage (counted from 1) and the teacher's there, times the customary 100."""
    student_BCHW, teacher_BCHW = _of_one_size(student[stage - 1], teacher[stage - 1])
    return FITNET_WEIGHT * F.mse_loss(student_BCHW, teacher_BCHW)


def at(student: Maps, teacher: Maps) -> Tensor:
    """Attention transfer (Zagoruyko and Komodakis, 2017): where each stage looks, the mean of its channels' squares
    normalised over the image; the sum over stages of the mean square of their difference, times the customary 1,000."""
    pairs = [_of_one_size(*pair) for pair in zip(student, teacher, strict=True)]
    far = [(_attention(one_BCHW) - _attention(other_BCHW)).square().mean() for one_BCHW, other_BCHW in pairs]
    return AT_WEIGHT * torch.stack(far).sum()


def reviewkd(student: Maps, teacher: Maps) -> Tensor:
    """Knowledge review (Chen et al., 2021): the hierarchical context loss between what fusion modules, trained with the
    student, make of its maps and the teacher's, of the same shapes; the sum over stages. Its customary weight is 1."""
    return torch.stack([_hierarchical(*pair) for pair in zip(student, teacher, strict=True)]).sum()


METHODS: dict[str, Callable[..., Tensor]] = {"fitnet": fitnet, "at": at, "reviewkd": reviewkd}
"""What a spec may name: `(student, teacher, …)`, the maps of their stages, to a loss."""


def compare_maps(method: str, student: Maps, teacher: Maps, **own: Any) -> Tensor:
    """A method's loss (float32, or float64 for maps of that)."""
    with autocast_off(student[0]):
        return METHODS[method](tuple(map(exact, student)), tuple(exact(each.detach()) for each in teacher), **own)


def _attention(map_BCHW: Tensor) -> Tensor:
    """Where a stage looks: [B, K], of length 1."""
    # Over the largest value, whose square could overflow; the length that is taken out afterwards does not show it.
    largest_B111 = map_BCHW.detach().abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return F.normalize((map_BCHW / largest_B111).square().mean(1).flatten(1), dim=1)


def _hierarchical(one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """The mean square of their difference, and of that pooled to each smaller context, which counts half of the one
    before; over the sum of these weights."""
    # Pooling is linear: the difference of two pooled maps is their difference pooled.
    difference_BCHW = one_BCHW - other_BCHW
    height, width = difference_BCHW.shape[2:]
    sizes = [(min(side, height), min(side, width)) for side in CONTEXTS if side < max(height, width)]
    levels = [difference_BCHW, *(F.adaptive_avg_pool2d(difference_BCHW, size) for size in sizes)]
    weights = [0.5**number for number in range(len(levels))]
    far = [weight * level.square().mean() for weight, level in zip(weights, levels, strict=True)]
    return torch.stack(far).sum() / sum(weights)


def _of_one_size(one_BCHW: Tensor, other_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    sizes = zip(one_BCHW.shape[2:], other_BCHW.shape[2:], strict=True)
    height, width = (min(pair) for pair in sizes)
    return F.adaptive_avg_pool2d(one_BCHW, (height, width)), F.adaptive_avg_pool2d(other_BCHW, (height, width))
