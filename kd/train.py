"""The `train` pipeline: the teacher labels the data once, the student trains on the labels."""

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from kd.events import Event
from kd.labels import labelling
from kd.labels.averaging import obtain_mean_table
from kd.labels.brought import Brought, read_labels, take_labels
from kd.labels.progress import Share
from kd.labels.table import Table
from kd.models.weights import State, digest_of
from kd.objectives.objective import Answer
from kd.report.evaluate import conclude, measure
from kd.report.suspects import most_suspect
from kd.spec import TeacherLabels, TrainConfig
from kd.teachers.frozen import freeze, mean_validation_logits, validation_logits
from kd.teachers.obtain import members_of, obtain_teacher
from kd.training import loop
from kd.training.baselines import train_baselines
from kd.training.guidance import Guidance, look_up
from kd.training.logbook import Logbook
from kd.training.repetitions import each_seed, numbered
from kd.training.run import Run
from kd.training.start import begin

# Shapes: N = images, V = views of each, C = classes, in a table numbers of a label, B = batch.


def train(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher, label table; student, control, evaluation, from each seed. What is finished already is skipped."""
    config, position = run.config, log.position
    assert isinstance(config, TrainConfig)

    brought = None
    if isinstance(config.teacher, TeacherLabels):
        brought = read_labels(run, config.teacher.labels)
    else:
        labelling.check_size(run, run.views_to_label)  # before hours go into a teacher
        yield from obtain_teacher(run, log)

    guidance: TableLabels | None = None
    for one in each_seed(run, log):
        if "student" not in position.finished:
            if guidance is None:  # the same for all seeds
                guidance = yield from obtain_guidance(run, log, brought)
            student = yield from begin(one, log, "student")
            learning = loop.fit(
                one, log, "student", student, one.config, one.objective(), guidance=guidance, patience=config.patience
            )
            yield from numbered(log, learning)
        yield from numbered(log, train_baselines(one, log))
        yield from numbered(log, measure(one, log, said=None if brought is None else brought.test))
    yield from conclude(run, log)


def obtain_guidance(run: Run, log: Logbook, brought: Brought | None) -> Generator[Event, None, "TableLabels"]:
    """The labels where the student's batches will read them: made here, or elsewhere."""
    validation_NC: Tensor | None
    if brought is None:
        said_NVC, validation_NC = yield from obtain_labels(run, log)
    else:
        yield from take_labels(run, log, brought)
        said_NVC, validation_NC = brought.table, brought.validation
    # Now that the table is at hand; for the page. What is mixed of two images says nothing of one's label.
    if log.position.suspects is None and run.team.leads and not run.plan.mixes:
        log.position.suspects = most_suspect(said_NVC, run.dataset.train, run.dataset.classes)
    if "labelling" not in log.position.finished:
        yield from log.finish()
    kind, table_NVC = TableLabels if brought is None else BroughtLabels, labelling.place(said_NVC, run.device)
    return kind(table_NVC, validation_NC, run.device, classes=len(run.dataset.classes), at_once=run.plan.at_once)


def obtain_labels(run: Run, log: Logbook) -> Generator[Event, None, tuple[Table, Tensor]]:
    """The label table of the teacher, or of a committee, and what it says of the validation split.

    One model at a time: once it has labelled, its memory is the next one's, and in the end the student's.
    """
    views = run.views_to_label
    if not run.members:
        weights = log.outcome("teacher").best.weights
        teacher = freeze(run, weights)
        table_NVC = yield from labelling.obtain_table(run, log, teacher, weights, views)
        return table_NVC, validation_logits(run, teacher)

    def label(member: Run, weights: State, part: Share) -> Generator[Event, None, Table]:
        return labelling.obtain_table(member, log, freeze(member, weights), weights, views, part=part)

    members = members_of(run, log)
    each = {digest_of(member.teacher_arch, weights): partial(label, member, weights) for member, weights in members}
    table_NVC = yield from obtain_mean_table(run, log, each, views)
    return table_NVC, mean_validation_logits(members)


class TableLabels(Guidance):
    """Soft labels from a table: epoch e shows view e modulo V, the very view that was labelled; of views that are shown
    in pairs, pair e modulo V / 2."""

    def __init__(
        self,
        table_NVC: Tensor,
        validation_NC: Tensor | None,
        device: torch.device,
        *,
        classes: int,
        at_once: int = 1,
    ):
        self.table_NVC = table_NVC  # on the device, or in the host's memory if it is large
        self.validation_NC, self.device, self.classes, self.at_once = validation_NC, device, classes, at_once

    def view(self, epoch: int) -> int:
        return epoch % (self.table_NVC.shape[1] // self.at_once)

    def column(self, epoch: int) -> int:
        """Where in the table an epoch's labels are."""
        return self.view(epoch)

    def answer(self, image_B: Tensor, epoch: int) -> Answer:
        label_BC = look_up(self.table_NVC, image_B, self.column(epoch), self.at_once)
        return Answer.of_label(label_BC.to(self.device, torch.float32, non_blocking=True), self.classes)


class BroughtLabels(TableLabels):
    """Labels of images as they are: one for each, whatever view of it is shown. As in the control that is a fresh one
    every epoch, of which there is one unless the spec asks for an augmentation."""

    def view(self, epoch: int) -> int:
        return epoch

    def column(self, epoch: int) -> int:
        return 0
