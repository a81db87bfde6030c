"""What the student would be without a teacher: the control, and the other baselines that the spec asks for."""

from collections.abc import Iterator

from kd.events import Event, Phase
from kd.objectives.objective import Objective
from kd.training import loop
from kd.training.logbook import Logbook
from kd.training.run import Run
from kd.training.start import begin


def train_baselines(run: Run, log: Logbook) -> Iterator[Event]:
    """The same student from the same first weights, trained as one would without a teacher: by the student's recipe, or
    by the control's own if it has one.

    It sees a fresh view every epoch, since without labels to share nothing would hold it to a few.
    """
    smoothing = run.config.baselines.label_smoothing
    if run.config.control:
        yield from train_one(run, log, "control")
    if run.config.control and smoothing is not None:
        yield from train_one(run, log, "label_smoothing", label_smoothing=smoothing)


def train_one(run: Run, log: Logbook, phase: Phase, *, label_smoothing: float = 0) -> Iterator[Event]:
    """One of them, unless that is done."""
    if phase in log.position.finished:
        return
    recipe = run.config.of_control()
    model = yield from begin(run, log, phase)
    objective = Objective(None, run.class_weights_C, label_smoothing=label_smoothing)
    yield from loop.fit(run, log, phase, model, recipe, objective, patience=recipe.patience)
