"""Objectives on logits.

Everything is computed with autocast off, in fp32 or, where nearly equal numbers are subtracted, in float64. The teacher
is never trained here.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Shapes: B = batch, C = classes.


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    """KL from the softened teacher to the softened student (Hinton et al., 2015); needs no labels.

    Multiplied by T², so its gradient keeps its size when the temperature changes: (T/B)(q − p).
    """
    with autocast_off(student_BC):
        # In logarithms on both sides: a probability that underflows to 0 would make the KL infinite or NaN.
        # In float64: at a high temperature the two differ in their last digits only, and T² makes the error of fp32
        # larger than the KL, which would even be shown below zero.
        log_student_BC = F.log_softmax(student_BC.double() / temperature, dim=1)
        log_teacher_BC = F.log_softmax(teacher_BC.detach().double() / temperature, dim=1)
        # "batchmean" is the KL; "mean" would also divide by the number of classes.
        kl = F.kl_div(log_student_BC, log_teacher_BC, log_target=True, reduction="batchmean")
        return (kl * temperature**2).to(exact(student_BC).dtype)


METHODS: dict[str, Callable[..., Tensor]] = {"kd": kd}
"""What a spec may name: `(student_BC, teacher_BC, labels_B, *, temperature)` to a loss."""


def exact(logits_BC: Tensor) -> Tensor:
    """Half precision, in which a forward may have ended, is too coarse for a softmax of a hundred classes."""
    return logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()


def autocast_off(tensor: Tensor) -> torch.autocast:
    """Whoever computes a loss within autocast would get parts of it in half precision again."""
    return torch.autocast(tensor.device.type, enabled=False)
