"""A model that is about to learn: born anew, or with weights to begin from."""

from collections.abc import Generator, Iterable
from typing import Any

from torch import nn

from kd.errors import StartUnfit
from kd.events import Event, Noted
from kd.models.start import Beginning, Taken, freeze_parts, groups_of, head_of, parts_of, take_over
from kd.models.weights import digest_of
from kd.spec import Start, Teacher
from kd.training.logbook import Logbook
from kd.training.resuming.position import Position
from kd.training.run import Run


def begin(run: Run, log: Logbook, phase: str) -> Generator[Event, None, nn.Module]:
    """The model that learns in a phase, as it is before its first step. Raises `StartUnfit`."""
    role, _, start = model_of(run, phase)
    model, taken = _begun(run, phase)
    position = log.position
    is_new = phase == role and position.current is None and phase not in position.reopened and position.repetition == 0
    if taken is not None and is_new:
        assert start is not None, "it has taken over what it begins from"
        held = [f"{', '.join(start.frozen)} stay as they came"] if start.frozen else []
        told = "; ".join([taken.told, *seen_otherwise(run, run.starts[role]), *held])
        message = f"{named(role).capitalize()} begins from {run.starts[role].whose}: {told}."
        yield Noted(code="begins_from", message=message)
    return model


def check_starts(run: Run, position: Position) -> None:
    """Raise `StartUnfit` for what the spec wants to begin from and cannot, before hours of training; and where it is
    not what the run has begun from, which would give student and control different first weights."""
    roles = {one.teacher_role: one for one in run.members or (run,)} | {"student": run}
    for role, one in roles.items():
        if role not in run.starts:
            continue
        _begun(one, role)
        digest = digest_of(model_of(one, role)[1], run.starts[role].read())
        if position.starts.setdefault(role, digest) != digest:
            raise StartUnfit("these are other weights than those with which the run has begun", role)


def _begun(run: Run, phase: str) -> tuple[nn.Module, Taken | None]:
    role, arch, start = model_of(run, phase)
    model, taken, classes = run.build(arch, "student" if role == "student" else "teacher"), None, run.dataset.classes
    if start is not None:
        try:
            taken = take_over(model, run.starts[role], arch, head_of(arch, len(classes), run.shape), classes)
        except StartUnfit as error:
            raise StartUnfit(error.why, role) from error
        hold(run, phase, model)
    return model, taken


def hold(run: Run, phase: str, model: nn.Module) -> None:
    """Freeze what the spec wants to stay as it came. Raises `StartUnfit`."""
    role, arch, start = model_of(run, phase)
    if start is None or not start.frozen:
        return
    try:
        freeze_parts(model, start.frozen, arch)
    except StartUnfit as error:
        raise StartUnfit(error.why, role) from error


def rest(run: Run, phase: str, model: nn.Module) -> None:
    """Put what the spec wants to stay as it came into eval mode, in a network that trains: its statistics stay too."""
    _, arch, start = model_of(run, phase)
    for part in parts_of(model, start.frozen, arch) if start is not None else ():
        part.eval()


def learning_in(run: Run, phase: str, model: nn.Module, more: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """What learns in a phase, and `more` beside it, in an optimizer's groups, each with its `share` of the rate."""
    _, arch, start = model_of(run, phase)
    if start is None:
        return [{"params": [*model.parameters(), *more], "share": 1.0}]
    return groups_of(model, head_of(arch, len(run.dataset.classes), run.shape), start.body_rate, more)


def model_of(run: Run, phase: str) -> tuple[str, str, Start | None]:
    """The role, the architecture and the start of the model that learns in a phase: control and baselines are the
    student without a teacher."""
    if phase.startswith("teacher"):
        teacher = run.config.teacher
        return run.teacher_role, run.teacher_arch, teacher.start if isinstance(teacher, Teacher) else None
    return "student", run.config.student.arch, run.config.student.start


def named(role: str) -> str:
    """`the teacher`, `the student`, or `the committee's teacher.2`."""
    return "the " + role if role in ("teacher", "student") else f"the committee's {role}"


def seen_otherwise(run: Run, beginning: Beginning) -> list[str]:
    """What is to be told where it has learnt from pixels that were shown in another way."""
    sees, data = beginning.sees, run.dataset
    if sees is None:
        return []
    theirs = [tuple(number * sees.scale / 255 for number in numbers) for numbers in (sees.mean, sees.std)]
    ours = [data.mean, data.std]
    if all(_alike(one, other) for one, other in zip(theirs, ours, strict=True)):
        return []
    (mean, std), (ours_mean, ours_std) = map(shown, theirs), map(shown, ours)
    return [
        f"it has learnt from pixels less {mean} and divided by {std}, and sees them less {ours_mean} and divided by "
        f"{ours_std} here"
    ]


def shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)


def _alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether they say the same of each channel; a single number is for all of them."""
    return one == other or (set(one) == set(other) and len(set(one)) == 1)
