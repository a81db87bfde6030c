"""The control: what the student would be without a teacher."""

from collections.abc import Iterator

from kd.events import Event
from kd.objectives.objective import Objective
from kd.training import loop
from kd.training.logbook import Logbook
from kd.training.run import Run


def train_control(run: Run, log: Logbook) -> Iterator[Event]:
    """The same student from the same first weights with the same recipe, trained as one would without a teacher.

    It sees a fresh view every epoch, since without labels to share nothing would hold it to a few.
    """
    config = run.config
    if not config.control or "control" in log.position.finished:
        return
    model = run.build(config.student.arch, "student")
    yield from loop.fit(
        run, log, "control", model, config, Objective(None, run.class_weights_C), patience=config.patience
    )
