"""The `train` pipeline: the teacher labels the data once, the student trains on the labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd.events import Event
from kd.labels import labelling
from kd.report.evaluate import evaluate
from kd.spec import Objective, TrainConfig
from kd.teachers import frozen
from kd.teachers.obtain import obtain_teacher
from kd.training import loop
from kd.training.control import train_control
from kd.training.guidance import Scores
from kd.training.run import Workbench


def train(bench: Workbench) -> Iterator[Event]:
    """Teacher, label table, student, control, evaluation: each phase is skipped if it is finished already."""
    config, finished = bench.config, bench.position.finished
    assert isinstance(config, TrainConfig)

    labelling.check_size(bench, bench.views_to_label)  # before hours go into a teacher
    yield from obtain_teacher(bench)

    if "student" not in finished:
        guide = frozen.best(bench)
        table_NVC = yield from labelling.obtain(bench, guide, bench.views_to_label)
        if "labelling" not in finished:
            yield from bench.finish({"views": bench.views_to_label})
        guidance = TableLabels(config.objective, frozen.validation_logits(bench, guide), table_NVC, bench.device)
        del guide  # the teacher is not run again, so its memory is the student's
        student = bench.build(config.student.arch, "student")
        yield from loop.fit(bench, "student", student, config, guidance=guidance)

    yield from train_control(bench)
    yield from evaluate(bench)


@dataclass(frozen=True)
class TableLabels:
    """Soft labels from a table: epoch e shows view e modulo V, the very view that was labelled."""

    objective: Objective
    validation_NC: Tensor
    table_NVC: Tensor  # on the device, or in the host's memory if it is large
    device: torch.device

    def prepare(self, epoch: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        return iter(())

    def view(self, epoch: int) -> int:
        return epoch % self.table_NVC.shape[1]

    def logits(self, image_B: Tensor, epoch: int) -> Tensor:
        logits_BC = self.table_NVC[image_B.to(self.table_NVC.device), self.view(epoch)]
        return logits_BC.to(self.device, torch.float32, non_blocking=True)

    def conclude(self, epoch: int, scores: Scores) -> Iterator[Event]:
        return iter(())

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass
