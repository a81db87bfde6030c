"""The `train` pipeline: the teacher labels the data once, the student trains on the labels."""

from collections.abc import Iterator

import torch
from torch import Tensor

from kd.events import Event
from kd.labels import labelling
from kd.objectives.objective import Answer
from kd.report.evaluate import evaluate
from kd.spec import TrainConfig
from kd.teachers.frozen import freeze, validation_logits
from kd.teachers.obtain import obtain_teacher
from kd.training import loop
from kd.training.control import train_control
from kd.training.guidance import Guidance
from kd.training.logbook import Logbook
from kd.training.run import Run

# Shapes: N = images, V = views of each, C = classes, in a table numbers of a label, B = batch.


def train(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher, label table, student, control, evaluation: each phase is skipped if it is finished already."""
    config, position = run.config, log.position
    assert isinstance(config, TrainConfig)

    labelling.check_size(run, run.views_to_label)  # before hours go into a teacher
    yield from obtain_teacher(run, log)

    if "student" not in position.finished:
        weights = log.outcome("teacher").best.weights
        teacher = freeze(run, weights)
        table_NVC = yield from labelling.obtain_table(run, log, teacher, weights, run.views_to_label)
        if "labelling" not in position.finished:
            yield from log.finish()
        guidance = TableLabels(table_NVC, validation_logits(run, teacher), run.device)
        del teacher  # it is not run again, so its memory is the student's
        student = run.build(config.student.arch, "student")
        yield from loop.fit(
            run, log, "student", student, config, run.objective(), guidance=guidance, patience=config.patience
        )

    yield from train_control(run, log)
    yield from evaluate(run, log)


class TableLabels(Guidance):
    """Soft labels from a table: epoch e shows view e modulo V, the very view that was labelled."""

    def __init__(self, table_NVC: Tensor, validation_NC: Tensor, device: torch.device):
        self.table_NVC = table_NVC  # on the device, or in the host's memory if it is large
        self.validation_NC, self.device = validation_NC, device

    def view(self, epoch: int) -> int:
        return epoch % self.table_NVC.shape[1]

    def answer(self, image_B: Tensor, epoch: int) -> Answer:
        label_BC = self.table_NVC[image_B.to(self.table_NVC.device), self.view(epoch)]
        return Answer.of_label(label_BC.to(self.device, torch.float32, non_blocking=True), self.validation_NC.shape[1])
