"""The `guide` pipeline: in rounds, the teacher labels fresh views of the data and the student trains on them."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kd.events import Event, PhaseStarted, RoundEnded
from kd.labels import labelling
from kd.report.evaluate import evaluate
from kd.spec import GuideConfig
from kd.teachers import frozen, guides
from kd.teachers.guides import Guide
from kd.teachers.obtain import obtain_teacher
from kd.training import loop
from kd.training.control import train_control
from kd.training.guidance import Scores
from kd.training.run import Workbench


def guide(bench: Workbench) -> Iterator[Event]:
    """Teacher, rounds of labelling and training, control, evaluation; finished phases are skipped.

    The student has one optimizer and one schedule over all rounds: a round changes the labels, nothing else.
    """
    config, finished = bench.config, bench.position.finished
    assert isinstance(config, GuideConfig)

    yield from obtain_teacher(bench)

    if "student" not in finished:
        guidance = RoundLabels(bench, guides.make(bench))
        student = bench.build(config.student.arch, "student")
        yield from loop.fit(bench, "student", student, config, guidance=guidance)

    yield from train_control(bench)
    yield from evaluate(bench)


class RoundLabels:
    """Soft labels made round by round: round r of E epochs shows the views numbered r·V to r·V + V - 1."""

    def __init__(self, bench: Workbench, guide: Guide):
        assert isinstance(bench.config, GuideConfig)
        self.bench, self.guide, self.config = bench, guide, bench.config
        self.objective = bench.config.objective
        self.rounds = math.ceil(self.config.epochs / self.config.rounds.epochs)
        self.validation_NC = torch.empty(0)
        self.round: int | None = None  # whose turn the guide has taken
        self.labelled: int | None = None  # whose labels are here
        self.table_NVC = torch.empty(0)

    def prepare(self, epoch: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Label the views of this epoch's round, unless that is done. After a resume they are labelled again."""
        bench, E, V = self.bench, self.config.rounds.epochs, self.bench.views_a_round
        number = epoch // E
        if number == self.labelled:
            return
        if number != self.round:
            yield from self.guide.turn(number, self.rounds, student, scores)
            self.round = number
        shown = min(V, self.config.epochs - number * E)  # the last round may be a short one
        bench.enter("labelling")
        facts = {"round": number + 1, "rounds": self.rounds, "views": shown, "guide": self.guide.name}
        yield PhaseStarted(phase="labelling", facts=facts)
        self.validation_NC = frozen.validation_logits(bench, self.guide.model)
        images, classes = len(bench.train), len(bench.dataset.classes)
        # Zeros, because in a team each fills in its share and the sum is the whole.
        dtype = bench.autocast or torch.float32
        self.table_NVC = torch.zeros(images, shown, classes, device=bench.device, dtype=dtype)
        written = labelling.label_views(bench, self.guide.model, range(number * V, number * V + shown), self.table_NVC)
        planned = bench.views_to_label * images
        yield from labelling.told(bench, written, before=number * V * images, planned=planned)
        bench.team.sum(self.table_NVC)
        self.labelled = number
        bench.enter("student")

    def view(self, epoch: int) -> int:
        return epoch // self.config.rounds.epochs * self.bench.views_a_round + self._column(epoch)

    def logits(self, image_B: Tensor, epoch: int) -> Tensor:
        return self.table_NVC[image_B.to(self.table_NVC.device), self._column(epoch)].float()

    def conclude(self, epoch: int, scores: Scores) -> Iterator[Event]:
        """Say how the round went, after its last epoch."""
        if epoch % self.config.rounds.epochs == 0 or epoch == self.config.epochs:
            assert self.round is not None
            told = {"teacher_top1": self.guide.top1} | {name: scores[name] for name in ("top1", "agreement", "kl")}
            yield RoundEnded(
                step=self.bench.position.step,
                round=self.round + 1,
                rounds=self.rounds,
                guide=self.guide.name,
                metrics=told,
            )

    def state(self) -> dict[str, Any]:
        return {"round": self.round, "guide": self.guide.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.round = state["round"]
        self.guide.restore(state["guide"])

    def _column(self, epoch: int) -> int:
        return epoch % self.config.rounds.epochs % self.bench.views_a_round
