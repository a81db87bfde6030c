"""What a teacher at the student's side is to the training loop."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from kd.events import Event
from kd.spec import Objective

Scores = dict[str, float]

# Shapes: B = batch, N = validation images, C = classes.


class Guidance(Protocol):
    """A teacher at the student's side: which view an epoch shows, and what the teacher says of it."""

    @property
    def objective(self) -> Objective: ...
    @property
    def validation_NC(self) -> Tensor:
        """The present teacher's logits of the validation split, to compare with."""

    def prepare(self, epoch: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Be ready for an epoch. `scores` are the student's on the validation split, as far as it has any."""

    def view(self, epoch: int) -> int: ...
    def logits(self, image_B: Tensor, epoch: int) -> Tensor: ...
    def conclude(self, epoch: int, scores: Scores) -> Iterator[Event]:
        """An epoch is over; `epoch` counts it."""

    def state(self) -> dict[str, Any]:
        """What a resumed run must know to be guided in the same way."""

    def restore(self, state: dict[str, Any]) -> None: ...
