"""Distances between a student's logits and a teacher's.

Everything is computed with autocast off and in float64, where nearly equal numbers are subtracted, and in logarithms: a
probability that underflows to 0 would make a KL infinite or NaN. The teacher is never trained here.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Shapes: B = batch, C = classes.


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    """KL from the softened teacher to the softened student (Hinton et al., 2015); needs no labels.

    Multiplied by T², so its gradient keeps its size when the temperature changes: (T/B)(q − p).
    """
    # In float64: at a high temperature the two differ in their last digits only, and T² makes the error of fp32
    # larger than the KL, which would even be shown below zero.
    kl_B = kl(log_softmax(teacher_BC, temperature), log_softmax(student_BC, temperature))
    return kl_B.mean() * temperature**2


def dkd(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float, alpha: float = 1, beta: float = 8
) -> Tensor:
    """Decoupled KD (Zhao et al., 2022): α times the KL between the label's class and all others, plus β times the KL of
    the others among themselves, which `kd` weighs by how unsure the teacher is. Needs hard labels (int64 [B]).

    With the two weights at 1 and 1 − p(label) it is `kd`. Logarithms throughout: the authors' own code forms
    probabilities, and from a gap of 100 on between logits their 1 − p is 0.
    """
    label_BC = F.one_hot(labels_B, student_BC.shape[1]).bool()
    two, others = [], []
    for logits_BC in (teacher_BC, student_BC):
        log_BC = log_softmax(logits_BC, temperature)
        rest_B = log_BC.masked_fill(label_BC, -torch.inf).logsumexp(1)
        two.append(torch.stack([log_BC[label_BC], rest_B], dim=1))
        # The label's own place is no part of it: alike in both, it adds nothing to the KL.
        others.append((log_BC - rest_B[:, None]).masked_fill(label_BC, 0))
    return (alpha * kl(*two) + beta * kl(*others)).mean() * temperature**2


def dist(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float, inter: float = 1, intra: float = 1
) -> Tensor:
    """DIST (Huang et al., 2022): 1 − Pearson's correlation of the softened probabilities, over the classes of an image
    (`inter`) and over the images of a class (`intra`), times T²; needs no labels.

    The second depends on which images make a batch: on its size, on the pieces of `gradient_accumulation`, and on how
    many GPUs share it.
    """
    student_BC, teacher_BC = (log_softmax(logits_BC, temperature).exp() for logits_BC in (student_BC, teacher_BC))
    over_classes = 1 - _correlation(student_BC, teacher_BC).mean()
    over_images = 1 - _correlation(student_BC.T, teacher_BC.T).mean()
    return (inter * over_classes + intra * over_images) * temperature**2


def wttm(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float = 1, exponent: float = 0.1
) -> Tensor:
    """Weighted transformed teacher matching (Zheng and Yang, 2024): the KL from the teacher's probabilities, raised to
    a power and made to sum to one again, to the student's own, at a temperature of 1. An image counts what the powers
    sum to: most where the teacher is unsure. Needs no labels, and has no temperature."""
    powers_BC = exponent * log_softmax(teacher_BC, 1)
    log_sum_B = powers_BC.logsumexp(1)
    kl_B = kl(powers_BC - log_sum_B[:, None], log_softmax(student_BC, 1))
    return (log_sum_B.exp() * kl_B).mean()


def ofa(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float = 1, epsilon: float = 1
) -> Tensor:
    """One-for-all KD (Hao et al., 2023), for teachers of another kind: the cross-entropy −Σ ((p + y)^ε − y) · log q, of
    probabilities at T = 1. With an ε above 1 the label's class counts more, the surer the teacher is of it. Needs hard
    labels (int64 [B]); with ε = 1 these cancel, and it is `kd` at T = 1 plus the teacher's entropy.

    Logarithms of the student: its authors' probabilities are 0 from a gap of 200 on.
    """
    label_BC = F.one_hot(labels_B, student_BC.shape[1]).to(teacher_BC)
    target_BC = (log_softmax(teacher_BC, 1).exp() + label_BC) ** epsilon - label_BC
    return -(target_BC * log_softmax(student_BC, 1)).sum(1).mean()


METHODS: dict[str, Callable[..., Tensor]] = {"kd": kd, "dkd": dkd, "dist": dist, "wttm": wttm, "ofa": ofa}
"""What a spec may name: `(student_BC, teacher_BC, labels_B, *, temperature, …)` to a loss in float64."""


def distance(
    method: str,
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    *,
    temperatures: tuple[float, ...],
    standardized: bool = False,
    **own: Any,
) -> Tensor:
    """A method's loss (float32, or float64 for logits of that), at several temperatures their mean; the logits may be
    standardized first."""
    with autocast_off(student_BC):
        student, teacher = student_BC.double(), teacher_BC.detach().double()
        if standardized:
            student, teacher = standardize(student), standardize(teacher)
        found = [METHODS[method](student, teacher, labels_B, temperature=T, **own) for T in temperatures]
        mean = torch.stack(found).mean()
        return mean.to(torch.float64 if student_BC.dtype == torch.float64 else torch.float32)


def standardize(logits_BC: Tensor) -> Tensor:
    """Each image's logits without their mean, over their standard deviation (Sun et al., 2024): how the student spreads
    them, which its capacity may not allow it to copy, no longer counts. The gradient goes through both."""
    mean_B1 = logits_BC.mean(1, keepdim=True)
    return (logits_BC - mean_B1) / (1e-7 + logits_BC.std(1, keepdim=True))


def log_softmax(logits_BC: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(logits_BC / temperature, dim=1)


def kl(log_teacher_BC: Tensor, log_student_BC: Tensor) -> Tensor:
    """Of each image. The mean over images is the KL; one over all elements would divide by the classes too."""
    return F.kl_div(log_student_BC, log_teacher_BC, log_target=True, reduction="none").sum(1)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, of each row."""
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    norms = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    return (one * other).sum(1).div(norms + 1e-8)


def exact(logits_BC: Tensor) -> Tensor:
    """Half precision, in which a forward may have ended, is too coarse for a softmax of a hundred classes."""
    return logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()


def autocast_off(tensor: Tensor) -> torch.autocast:
    """Whoever computes a loss within autocast would get parts of it in half precision again."""
    return torch.autocast(tensor.device.type, enabled=False)
