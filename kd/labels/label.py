"""One label: what it is made of, and whether it is made of numbers."""

import numpy as np
import torch
from torch import Tensor, nn

from kd import liveness
from kd.errors import BadLabels, FeatureTooLarge, TeacherUnfit
from kd.labels.table import Table
from kd.models.features import Observed, Points
from kd.spec.teacher import Ready
from kd.training.run import Run

# Shapes: N = images, V = views of each, C = numbers of a label, B = batch.


class Label(nn.Module):
    """What a teacher says of a view, as a table holds it: its logits and, with `pooled`, behind them its feature."""

    def __init__(self, teacher: nn.Module, *, pooled: bool):
        super().__init__()
        self.teacher = Observed(teacher, Points(pooled))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        logits_BC, features = self.teacher(pixels_BCHW)
        return logits_BC if features.pooled_BD is None else torch.cat([logits_BC, features.pooled_BD], dim=1)


def check_numbers(run: Run, table_NVC: Table) -> None:
    """Raise what there is to say of a teacher whose labels are not all numbers in half precision."""
    classes = len(run.dataset.classes)
    if not is_finite(table_NVC[..., :classes]):
        if isinstance(run.config.teacher, Ready):
            raise TeacherUnfit("it gives logits that are not finite in half precision", run.teacher_role)
        raise BadLabels(run.teacher_arch)
    if not is_finite(table_NVC[..., classes:]):
        raise FeatureTooLarge(run.teacher_arch)


def is_finite(table_NVC: Table) -> bool:
    """Whether all of it is numbers. Read in blocks: the table may be larger than memory."""
    for first in range(0, len(table_NVC), 4096):
        if not np.isfinite(table_NVC[first : first + 4096]).all():
            return False
        liveness.advance()
    return True
