"""The objectives: what a student is told to care about.

Everything is computed in fp32 with autocast off (float64 stays float64), and the teacher is never trained here.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.spec import Objective
from kd.views import Mix

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
    with _autocast_off(student_BC):
        if mix is None:
            return F.cross_entropy(_exact(student_BC), labels_B)
        own_B = F.cross_entropy(_exact(student_BC), labels_B, reduction="none")
        other_B = F.cross_entropy(_exact(student_BC), mix.partner_B, reduction="none")
        return torch.lerp(other_B, own_B, mix.share_B.to(own_B)).mean()


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    """KL from the softened teacher to the softened student (Hinton et al., 2015); needs no labels.

    Multiplied by T², so its gradient keeps its size when the temperature changes: (T/B)(q − p).
    """
    with _autocast_off(student_BC):
        log_student_BC = F.log_softmax(_exact(student_BC) / temperature, dim=1)
        log_teacher_BC = F.log_softmax(_exact(teacher_BC.detach()) / temperature, dim=1)
        # "batchmean" is the KL; "mean" would also divide by the number of classes.
        kl = F.kl_div(log_student_BC, log_teacher_BC, log_target=True, reduction="batchmean")
        return kl * temperature**2


LOSSES: dict[str, Callable[..., Tensor]] = {"kd": kd}


def _exact(logits_BC: Tensor) -> Tensor:
    return logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()


def _autocast_off(tensor: Tensor) -> torch.autocast:
    return torch.autocast(tensor.device.type, enabled=False)
