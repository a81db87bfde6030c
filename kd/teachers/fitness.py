"""Whether a teacher that was brought along can teach here."""

from kd.errors import TeacherUnfit
from kd.models.safetensors.facts import Facts
from kd.training.run import Run


def misfit(facts: Facts, run: Run) -> str | None:
    """What keeps a model from teaching on this run's data, if anything does."""
    here = run.facts(facts.arch)
    if len(facts.classes) != len(here.classes):
        return f"it knows {len(facts.classes)} classes, {run.dataset.name} has {len(here.classes)}"
    for number, (its, ours) in enumerate(zip(facts.classes, here.classes, strict=True)):
        if its != ours:
            return f"class {number} is {its!r} to it, but {ours!r} in {run.dataset.name}"
    if facts.shape != here.shape:
        are = "are" if here.shape == run.dataset.shape else "are shown at"
        return f"it sees images of {_size(facts.shape)}, those of {run.dataset.name} {are} {_size(here.shape)}"
    if (facts.mean, facts.std) != (here.mean, here.std):
        return (
            f"it wants pixels with the mean {facts.mean} and deviation {facts.std} taken out, "
            f"those of {run.dataset.name} have {here.mean} and {here.std}"
        )
    return None


def order_of(theirs: tuple[str, ...], run: Run) -> tuple[int, ...]:
    """Which output of a teacher that was said to know `theirs` is each of our classes. Raises `TeacherUnfit`."""
    ours = run.dataset.classes
    if missing := [one for one in ours if one not in theirs]:
        raise TeacherUnfit(
            f"the classes it was said to know have no {missing[0]!r}, which {run.dataset.name} has", run.teacher_role
        )
    if len(theirs) != len(ours):
        raise TeacherUnfit(f"it knows {len(theirs)} classes, {run.dataset.name} has {len(ours)}", run.teacher_role)
    return tuple(theirs.index(one) for one in ours)


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}×{width} pixels in {channels} {'channel' if channels == 1 else 'channels'}"
