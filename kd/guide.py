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
        self.bench, self.guide, self.config = bench, guide, bench.config
        self.objective = bench.config.objective
        self.validation_NC = teacher.validation_logits(bench, guide)
        self.labelled_round: int | None = None
        self.table_NVC = torch.empty(0)

    def prepare(self, epoch: int) -> Iterator[Event]:
        """Label the views of this epoch's round, unless that is done. After a resume the round is labelled again."""
        bench, E, V = self.bench, self.config.rounds.epochs, self.bench.views_a_round
        number = epoch // E
        if number == self.labelled_round:
            return
        rounds = math.ceil(self.config.epochs / E)
        shown = min(V, self.config.epochs - number * E)  # the last round may be a short one
        bench.enter("labelling")
        yield PhaseStarted(phase="labelling", facts={"round": number + 1, "rounds": rounds, "views": shown})
        images = len(bench.train)
        self.table_NVC = torch.empty(images, shown, len(bench.dataset.classes), device=bench.device)
        written = labels.label_views(bench, self.guide, range(number * V, number * V + shown), self.table_NVC)
        planned = bench.views_to_label * images
        yield from labels.told(bench, written, before=number * V * images, planned=planned)
        self.labelled_round = number
        bench.enter("student")

    def view(self, epoch: int) -> int:
        return epoch // self.config.rounds.epochs * self.bench.views_a_round + self._column(epoch)

    def logits(self, image_B: Tensor, epoch: int) -> Tensor:
        return self.table_NVC[image_B, self._column(epoch)]

    def _column(self, epoch: int) -> int:
        return epoch % self.config.rounds.epochs % self.bench.views_a_round
