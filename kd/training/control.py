"""The control: what the student would be without a teacher."""

from collections.abc import Iterator

from kd.events import Event
from kd.training import loop
from kd.training.run import Workbench


def train_control(bench: Workbench) -> Iterator[Event]:
    """The same student from the same first weights with the same recipe, trained as one would without a teacher.

    It sees a fresh view every epoch, since without labels to share nothing would hold it to a few.
    """
    config = bench.config
    if not config.control or "control" in bench.position.finished:
        return
    model = bench.build(config.student.arch, "student")
    yield from loop.fit(bench, "control", model, config)
