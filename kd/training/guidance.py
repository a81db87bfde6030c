"""What a teacher at the student's side is to the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from kd.events import Event
from kd.objectives.objective import Answer
from kd.training.resuming.position import Scores

# Shapes: B = batch, N = images, V = views of each, C = classes.


class Guidance(ABC):
    """A teacher at the student's side: which view an epoch shows, and what the teacher says of it.

    One that has its labels from the start needs `view` and `answer`; one that makes them on the way, the rest too.
    """

    validation_NC: Tensor | None
    """The present teacher's logits of the validation split, to compare with; None if nobody knows them."""

    @abstractmethod
    def view(self, epoch: int) -> int:
        """The number of the view, or of the pair of views, in which an epoch, counted from 0, shows every image."""

    @abstractmethod
    def answer(self, image_B: Tensor, epoch: int) -> Answer:
        """What the teacher says of that view of these images (int64, on the CPU); on the device. Of a pair it is said
        for both, one after the other."""

    def look(self, answer: Answer, pixels_BCHW: Tensor) -> Answer:
        """What it says of these very pixels, completed by what is too large to be kept."""
        return answer

    def prepare(self, epoch: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Be ready for an epoch. `scores` are the student's on the validation split, as far as it has any."""
        return iter(())

    def conclude(self, epoch: int, scores: Scores, *, ended: bool) -> Iterator[Event]:
        """An epoch is over; `epoch` counts it. The training has `ended` with it, or goes on."""
        return iter(())

    def state(self) -> dict[str, Any]:
        """What a resumed run must know to be guided in the same way."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Guide on from there."""
        assert not state, "what has no state is restored to none"


def look_up(table_NVC: Tensor, image_B: Tensor, view: int, at_once: int) -> Tensor:
    """What a table says of these images in the view of this number: [B, C]; of so many `at_once`, [at_once · B, C]."""
    rows_B, first = image_B.to(table_NVC.device), view * at_once
    return table_NVC[rows_B, first : first + at_once].flatten(0, 1)
