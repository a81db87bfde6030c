"""A model that is about to learn: born anew, or with weights to begin from."""

from collections.abc import Generator, Iterable
from typing import Any

from torch import nn

from kd.errors import StartUnfit
from kd.events import Event, Noted
from kd.models.start import Beginning, Taken, freeze_parts, groups_of, head_of, take_over
from kd.spec import Start, Teacher
from kd.training.logbook import Logbook
from kd.training.run import Run


def begin(run: Run, log: Logbook, phase: str) -> Generator[Event, None, nn.Module]:
    """The model that learns in a phase, as it is before its first step. Raises `StartUnfit`."""
    role, _, start = model_of(run, phase)
    model, taken = _begun(run, phase)
    if taken is not None and phase == role and log.position.current is None and log.position.repetition == 0:
        assert start is not None, "it has taken over what it begins from"
        held = [f"{', '.join(start.frozen)} stay as they came"] if start.frozen else []
        told = "; ".join([taken.told, *seen_otherwise(run, run.starts[role]), *held])
        message = f"{named(role).capitalize()} begins from {run.starts[role].whose}: {told}."
        yield Noted(code="begins_from", message=message)
    return model


def check_starts(run: Run) -> None:
    """Raise `StartUnfit` for what the spec wants to begin from and cannot: before hours of training."""
    for one in run.members or (run,):
        for phase in {one.teacher_role, "student"} & run.starts.keys():
            _begun(one, phase)


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
    try:
        freeze_parts(model, start.frozen if start is not None else (), arch)
    except StartUnfit as error:
        raise StartUnfit(error.why, role) from error


def learning_in(run: Run, phase: str, model: nn.Module, more: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """What learns in a phase, and `more` beside it, in an optimizer's groups, each with its `share` of the rate."""
    _, arch, start = model_of(run, phase)
    if start is None or start.body_rate == 1:
        return groups_of(model, (), 1, more)
    return groups_of(model, head_of(arch, len(run.dataset.classes), run.shape), start.body_rate, more)


def model_of(run: Run, phase: str) -> tuple[str, str, Start | None]:
    """The role, the architecture and the start of the model that learns in a phase: control and baselines are the
    student without a teacher."""
    if phase.startswith("teacher"):
        teacher = run.config.teacher
        return run.teacher_role, run.teacher_arch, teacher.start if isinstance(teacher, Teacher) else None
    return "student", run.config.student.arch, run.config.student.start


def named(role: str) -> str:
    return "the " + role if role in ("teacher", "student") else f"the committee's {role}"


def seen_otherwise(run: Run, beginning: Beginning) -> list[str]:
    """What is to be told where it has learnt from pixels that were shown in another way."""
    sees, data = beginning.sees, run.dataset
    if sees is None or (sees.mean, sees.std) == (data.mean, data.std):
        return []
    mean, std = _shown(sees.mean), _shown(sees.std)
    return [
        f"it has learnt from pixels less {mean} and divided by {std}, and sees them less {_shown(data.mean)} and "
        f"divided by {_shown(data.std)} here"
    ]


def _shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
