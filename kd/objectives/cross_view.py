"""A distance between a student's logits and a teacher's over two views of each image, a weak and a strong one.

Computed as `kd.objectives.logits` computes: in float64, from logarithms, with autocast off. The teacher is not trained.
"""

import torch
from torch import Tensor

from kd.objectives.logits import autocast_off, kl, log_softmax, standardize
from kd.spec.terms.cross_view import Level

# Shapes: B = images of the batch, R = 2·B rows, the weak and the strong view of each in turn; C = classes.
# With a 2 in front: the weak views of all images, then the strong ones.

WEAK, STRONG = 0, 1


def cross_view(
    student_RC: Tensor,
    teacher_RC: Tensor,
    *,
    temperatures: tuple[float, ...],
    standardized: bool = False,
    within: Level,
    cross: Level,
    batch: Level,
    classes: Level,
) -> Tensor:
    """The sum of four levels, each by its weight, at several temperatures their mean; float32, or float64 for logits of
    that.

    `within` compares a view of the student's with the teacher's same view, `cross` with the teacher's other one (CRLD,
    Zhang et al., 2024). `batch` and `classes` compare how alike the images of the batch, and the classes, are (MLKD,
    Jin et al., 2023), and depend on which images make a batch. Each is the sum over both views. An image counts at a
    level where the teacher's highest probability reaches the level's `confidence`: on the weak view, for `cross` on the
    strong one.
    """
    levels = ((within, WEAK, _within), (cross, STRONG, _cross), (batch, WEAK, _batch), (classes, WEAK, _classes))
    with autocast_off(student_RC):
        student, teacher = student_RC.double(), teacher_RC.detach().double()
        # By what the teacher says, however that is softened or standardized for the student.
        sure_B2 = teacher.softmax(1).amax(1).view(-1, 2)
        if standardized:
            student, teacher = standardize(student), standardize(teacher)
        total = student.new_zeros(())
        for T in temperatures:
            teacher_2BC, student_2BC = (_by_view(log_softmax(logits_RC, T)) for logits_RC in (teacher, student))
            for level, gate, compare in levels:
                if level.weight:
                    counts_B = (sure_B2[:, gate] >= level.confidence).double()
                    total = total + level.weight * compare(teacher_2BC, student_2BC, counts_B, T)
        mean = total / len(temperatures)
        return mean.to(torch.float64 if student_RC.dtype == torch.float64 else torch.float32)


def _by_view(rows_RC: Tensor) -> Tensor:
    return rows_RC.view(-1, 2, rows_RC.shape[1]).transpose(0, 1)


# Each takes logarithms of the softened probabilities, and which images count: 1 or 0.


def _within(teacher_2BC: Tensor, student_2BC: Tensor, counts_B: Tensor, temperature: float) -> Tensor:
    kl_2B = kl(teacher_2BC.flatten(0, 1), student_2BC.flatten(0, 1)).view(2, -1)
    return (kl_2B * counts_B).sum(0).mean() * temperature**2


def _cross(teacher_2BC: Tensor, student_2BC: Tensor, counts_B: Tensor, temperature: float) -> Tensor:
    return _within(teacher_2BC.flip(0), student_2BC, counts_B, temperature)


def _batch(teacher_2BC: Tensor, student_2BC: Tensor, counts_B: Tensor, temperature: float) -> Tensor:
    """Inner products between the images' probabilities; no T² in the authors' code, and none here."""
    p_2BC, q_2BC = teacher_2BC.exp() * counts_B[:, None], student_2BC.exp() * counts_B[:, None]
    return (p_2BC @ p_2BC.mT - q_2BC @ q_2BC.mT).square().sum() / len(counts_B)


def _classes(teacher_2BC: Tensor, student_2BC: Tensor, counts_B: Tensor, temperature: float) -> Tensor:
    """Inner products between the classes' probabilities."""
    p_2BC, q_2BC = teacher_2BC.exp() * counts_B[:, None], student_2BC.exp() * counts_B[:, None]
    return (p_2BC.mT @ p_2BC - q_2BC.mT @ q_2BC).square().sum() / p_2BC.shape[2]
