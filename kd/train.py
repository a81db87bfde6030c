"""The `train` pipeline: the teacher labels the data once, the student trains on the labels."""

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from kd.events import Event
from kd.labels import labelling
from kd.objectives.objective import Answer
from kd.report.evaluate import conclude, measure
from kd.spec import TrainConfig
from kd.teachers.frozen import freeze, validation_logits
from kd.teachers.obtain import obtain_teacher
from kd.training import loop
from kd.training.baselines import train_baselines
from kd.training.guidance import Guidance, look_up
from kd.training.logbook import Logbook
from kd.training.repetitions import each_seed, numbered
from kd.training.run import Run

# Shapes: N = images, V = views of each, C = classes, in a table numbers of a label, B = batch.


def train(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher, label table; student, control, evaluation, from each seed. What is finished already is skipped."""
    config, position = run.config, log.position
    assert isinstance(config, TrainConfig)

    labelling.check_size(run, run.views_to_label)  # before hours go into a teacher
    yield from obtain_teacher(run, log)

    guidance: TableLabels | None = None
    for one in each_seed(run, log):
        if "student" not in position.finished:
            if guidance is None:  # the same for all seeds
                guidance = yield from obtain_labels(run, log)
            student = one.build(config.student.arch, "student")
            learning = loop.fit(
                one, log, "student", student, one.config, one.objective(), guidance=guidance, patience=config.patience
            )
            yield from numbered(log, learning)
        yield from numbered(log, train_baselines(one, log))
        yield from numbered(log, measure(one, log))
    yield from conclude(run, log)


def obtain_labels(run: Run, log: Logbook) -> Generator[Event, None, "TableLabels"]:
    """The teacher's labels, made or found."""
    weights = log.outcome("teacher").best.weights
    teacher = freeze(run, weights)
    table_NVC = yield from labelling.obtain_table(run, log, teacher, weights, run.views_to_label)
    if "labelling" not in log.position.finished:
        yield from log.finish()
    # The teacher is not run again, so its memory is the student's.
    return TableLabels(table_NVC, validation_logits(run, teacher), run.device, at_once=run.plan.at_once)


class TableLabels(Guidance):
    """Soft labels from a table: epoch e shows view e modulo V, the very view that was labelled; of views that are shown
    in pairs, pair e modulo V / 2."""

    def __init__(self, table_NVC: Tensor, validation_NC: Tensor, device: torch.device, *, at_once: int = 1):
        self.table_NVC = table_NVC  # on the device, or in the host's memory if it is large
        self.validation_NC, self.device, self.at_once = validation_NC, device, at_once

    def view(self, epoch: int) -> int:
        return epoch % (self.table_NVC.shape[1] // self.at_once)

    def answer(self, image_B: Tensor, epoch: int) -> Answer:
        label_BC = look_up(self.table_NVC, image_B, self.view(epoch), self.at_once)
        return Answer.of_label(label_BC.to(self.device, torch.float32, non_blocking=True), self.validation_NC.shape[1])
