"""The `guide` pipeline: in rounds, the teacher labels fresh views of the data and the student trains on them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kd import labels, teacher, training
from kd.closing import control, evaluation
from kd.events import Event, PhaseStarted
from kd.spec import GuideConfig
from kd.workbench import Workbench


def guide(bench: Workbench) -> Iterator[Event]:
    """Teacher, rounds of labelling and training, control, evaluation; finished phases are skipped.

    The student has one optimizer and one schedule over all rounds: a round changes the labels, nothing else.
    """
    config, finished = bench.config, bench.position.finished
    assert isinstance(config, GuideConfig)

    if "teacher" not in finished:
        yield from teacher.obtain(bench)

    if "student" not in finished:
        guidance = RoundLabels(bench, teacher.best(bench))
        student = bench.build(config.student.arch, "student")
        yield from training.fit(bench, "student", student, config, guidance=guidance)

    yield from control(bench)
    yield from evaluation(bench)


class RoundLabels:
    """Soft labels made round by round: round r of E epochs shows the views numbered r·V to r·V + V - 1."""

    def __init__(self, bench: Workbench, guide: nn.Module):
        assert isinstance(bench.config, GuideConfig)
        self.bench, self.guide, self.rounds = bench, guide, bench.config.rounds
        self.objective = bench.config.objective
        self.validation_NC = teacher.validation_logits(bench, guide)
        self.labelled_round: int | None = None
        size = len(bench.train), self.rounds.views, len(bench.dataset.classes)
        self.table_NVC = torch.empty(size, device=bench.device)

    def prepare(self, epoch: int) -> Iterator[Event]:
        """Label the views of this epoch's round, unless that is done. After a resume the round is labelled again."""
        number = epoch // self.rounds.epochs
        if number == self.labelled_round:
            return
        bench, V = self.bench, self.rounds.views
        rounds = math.ceil(bench.config.epochs / self.rounds.epochs)
        bench.enter("labelling")
        yield PhaseStarted(phase="labelling", facts={"round": number + 1, "rounds": rounds, "views": V})
        labels_a_round = len(bench.train) * V
        yield from labels.label_views(
            bench,
            self.guide,
            range(number * V, (number + 1) * V),
            self.table_NVC,
            before=number * labels_a_round,
            planned=rounds * labels_a_round,
        )
        self.labelled_round = number
        bench.enter("student")

    def view(self, epoch: int) -> int:
        return epoch // self.rounds.epochs * self.rounds.views + self._column(epoch)

    def logits(self, image_B: Tensor, epoch: int) -> Tensor:
        return self.table_NVC[image_B, self._column(epoch)]

    def _column(self, epoch: int) -> int:
        return epoch % self.rounds.epochs % self.rounds.views
