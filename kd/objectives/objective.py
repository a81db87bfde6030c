"""What a student is told to care about: labels and teacher, each by its weight."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.objectives.logits import autocast_off, exact, kd
from kd.spec import Objective
from kd.views.mixup import Mix

# Shapes: B = batch, C = classes.


class Parts(NamedTuple):
    """A loss and what it is made of. Only `total` carries a gradient; the other two are not yet weighted."""

    total: Tensor
    hard: Tensor
    soft: Tensor


def distillation(
    student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, objective: Objective, mix: Mix | None = None
) -> Parts:
    """hard_weight · CE(student, label) + soft_weight · D(student, teacher), D as the objective says.

    Under a mix the soft label needs no care: it is what the teacher says of the mixed image.
    """
    hard_part = hard(student_BC, labels_B, mix)
    soft_part = LOSSES[objective.method](student_BC, teacher_BC, labels_B, temperature=objective.temperature)
    total = objective.hard_weight * hard_part + objective.soft_weight * soft_part
    return Parts(total, hard_part.detach(), soft_part.detach())


def hard(student_BC: Tensor, labels_B: Tensor, mix: Mix | None = None) -> Tensor:
    """Cross-entropy with the labels; of a mixed image with both, each by its share of it."""
    with autocast_off(student_BC):
        if mix is None:
            return F.cross_entropy(exact(student_BC), labels_B)
        own_B = F.cross_entropy(exact(student_BC), labels_B, reduction="none")
        other_B = F.cross_entropy(exact(student_BC), mix.partner_B, reduction="none")
        return torch.lerp(other_B, own_B, mix.share_B.to(own_B)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {"kd": kd}
