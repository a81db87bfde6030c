"""The golden input of the design, B=4, C=6, and the distance that a method from logits has on it."""

import pytest
import torch
from torch import Tensor

from kd.objectives.logits import METHODS, distance

ROW, COLUMN = torch.arange(4, dtype=torch.float64)[:, None], torch.arange(6, dtype=torch.float64)[None]
STUDENT = 2 * torch.sin(1.7 * ROW + 0.9 * COLUMN + 0.3)
TEACHER = 3 * torch.cos(0.8 * ROW - 1.1 * COLUMN + 0.5)
LABELS = torch.tensor([0, 3, 5, 2])

every_loss = pytest.mark.parametrize("name", list(METHODS))


def far(name: str, student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, temperature: float = 4, **own) -> Tensor:
    return distance(name, student_BC, teacher_BC, labels_B, temperatures=(temperature,), **own)


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    return far("kd", student_BC, teacher_BC, labels_B, temperature)
