"""Distances between a student's features and a teacher's.

They compare how the images of a batch lie to one another, so they depend on which images make a batch: on its size, on
the pieces of `gradient_accumulation`, and on how many GPUs share it. Everything is computed with autocast off and in
float64, since distances of images that are nearly the same are differences of nearly equal numbers. The teacher is
never trained here.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.objectives.logits import autocast_off

# Shapes: B = batch, D = width of a feature; in rkd and sp the student's may be another than the teacher's.

# What the literature weighs it by, so that a `soft_weight` around 1 is right for every method.
SP_WEIGHT = 3_000


def rkd(student_BD: Tensor, teacher_BD: Tensor, *, distances: float = 25, angles: float = 50) -> Tensor:
    """Relational KD (Park et al., 2019): the distances of all pairs of images, over their mean, and the cosines of the
    angles of all triples, each by a smooth L1. Both are the same however a feature is turned, scaled or shifted.

    The triples take memory that grows with the cube of the batch.
    """
    student, teacher = _relations(student_BD), _relations(teacher_BD)
    far = distances * F.smooth_l1_loss(_of_pairs(student[1]), _of_pairs(teacher[1]))
    # What is weighed by 0 is not computed: it is by far the larger part.
    return far + angles * F.smooth_l1_loss(_of_triples(*student), _of_triples(*teacher)) if angles else far


def sp(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Similarity-preserving KD (Tung and Mori, 2019): ‖G_s − G_t‖²_F / B², times the customary 3,000. G are the inner
    products of a batch's features, each image's normalised. (The paper takes the last map; this is its mean.)"""
    student_BB, teacher_BB = (F.normalize(each_BD @ each_BD.T, dim=1) for each_BD in (student_BD, teacher_BD))
    return SP_WEIGHT * (student_BB - teacher_BB).square().mean()


def srd(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Simple recipe distillation (Miles and Mikolajczyk, 2024): log(1 + Σ |s − t|⁴), both normalised over the batch in
    each of their numbers. The student's is projected to the teacher's width before, which is trained with it.

    The 1, which the authors do not add, makes it 0 where the two are equal, and is nothing beside a sum over a batch.
    """
    student, teacher = _over_batch(student_BD), _over_batch(teacher_BD)
    return (student - teacher).pow(4).sum().log1p()


METHODS: dict[str, Callable[..., Tensor]] = {"rkd": rkd, "sp": sp, "srd": srd}
"""What a spec may name: `(student_BD, teacher_BD, …)` to a loss in float64."""


def compare(method: str, student_BD: Tensor, teacher_BD: Tensor, **own: Any) -> Tensor:
    """A method's loss (float32, or float64 for features of that)."""
    with autocast_off(student_BD):
        found = METHODS[method](student_BD.double(), teacher_BD.detach().double(), **own)
        return found.to(torch.float64 if student_BD.dtype == torch.float64 else torch.float32)


def _over_batch(feature_BD: Tensor) -> Tensor:
    """Each number without its mean over the batch, and over its standard deviation."""
    variance_D, mean_D = torch.var_mean(feature_BD, dim=0, correction=0)
    return (feature_BD - mean_D) / (variance_D + 1e-4).sqrt()


def _relations(feature_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products [B, B] of the images, seen from their middle, and their distances [B, B]."""
    feature_BD = feature_BD - feature_BD.mean(0)
    product_BB = feature_BD @ feature_BD.T
    square_B = product_BB.diagonal()
    # Clamped before the root, whose slope at 0 is infinite: an image has no distance to itself, nor to its like.
    far_BB = (square_B[:, None] + square_B[None] - 2 * product_BB).clamp(min=1e-12).sqrt()
    return product_BB, far_BB * _others(far_BB)


def _of_pairs(far_BB: Tensor) -> Tensor:
    """The distances over their mean, in which an image's distance to itself does not count."""
    return far_BB / (far_BB.sum() / _others(far_BB).sum())


def _of_triples(product_BB: Tensor, far_BB: Tensor) -> Tensor:
    """The cosine of the angle at image i between j and k, [B, B, B]; 0 where two of them are the same.

    From the inner products, (x_j − x_i)·(x_k − x_i), and not from the differences: those would be [B, B, D].
    """
    others_BB = _others(far_BB)
    inverse_BB = others_BB / (far_BB + 1 - others_BB)
    square_B = product_BB.diagonal()
    inner_BBB = product_BB[None] - product_BB[:, :, None] - product_BB[:, None, :] + square_B[:, None, None]
    return inner_BBB * inverse_BB[:, :, None] * inverse_BB[:, None, :]


def _others(like_BB: Tensor) -> Tensor:
    """1 for every pair of two different images, else 0."""
    return 1 - torch.eye(len(like_BB), dtype=like_BB.dtype, device=like_BB.device)
