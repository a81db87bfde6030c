"""What a model is told to care about: the labels, and the teacher's answer if there is a teacher."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd import spec
from kd.objectives.logits import METHODS, autocast_off, exact
from kd.views.mixup import Mix

# Shapes: B = batch, C = classes.


class Answer(NamedTuple):
    """What a teacher says of a batch, as objectives take it."""

    logits_BC: Tensor

    def part(self, which: slice) -> Self:
        """Of these images of the batch."""
        return type(self)(*(column_B[which] for column_B in self))


class Parts(NamedTuple):
    """A loss and what it is made of. Only `total` carries a gradient; the other two are not yet weighted."""

    total: Tensor
    hard: Tensor
    soft: Tensor


class Objective(nn.Module):
    """hard_weight · CE(student, label) + soft_weight · D(student, teacher), D as the spec says; without a spec the
    labels alone.

    A module, because some objectives have something to train (a regressor between two feature maps, say). Whatever that
    is, the loop gives it to the optimizer and to the checkpoint, and knows no more of it; it is never exported.
    """

    def __init__(self, wanted: spec.Objective | None = None):
        super().__init__()
        self.wanted = wanted

    def forward(self, student_BC: Tensor, labels_B: Tensor, answer: Answer | None, mix: Mix | None = None) -> Parts:
        """The loss of a batch.

        Under a mix the soft label needs no care: it is what the teacher says of the mixed image.
        """
        hard = cross_entropy(student_BC, labels_B, mix)
        # Not a soft weight of 0: teacher and control learn from labels in full, whatever the student's weights are.
        if self.wanted is None or answer is None:
            return Parts(hard, hard.detach(), torch.zeros_like(hard))
        method, temperature = METHODS[self.wanted.method], self.wanted.temperature
        soft = method(student_BC, answer.logits_BC, labels_B, temperature=temperature)
        # The parts are shown as they are, unweighted: so they can be compared between runs with other weights.
        total = self.wanted.hard_weight * hard + self.wanted.soft_weight * soft
        return Parts(total, hard.detach(), soft.detach())


def cross_entropy(student_BC: Tensor, labels_B: Tensor, mix: Mix | None = None) -> Tensor:
    """Cross-entropy with the labels; of a mixed image with both, each by its share of it."""
    with autocast_off(student_BC):
        if mix is None:
            return F.cross_entropy(exact(student_BC), labels_B)
        # As two losses and not one soft target: the same by linearity, and no [B, C] of targets has to be made.
        own_B = F.cross_entropy(exact(student_BC), labels_B, reduction="none")
        other_B = F.cross_entropy(exact(student_BC), mix.partner_B, reduction="none")
        return torch.lerp(other_B, own_B, mix.share_B.to(own_B)).mean()
