"""What a run is asked for, and how that may differ from what its resume state was saved for."""

from collections.abc import Iterator, Mapping
from typing import Any

from kd.spec import GuideSpec, TrainSpec
from kd.training.resuming.position import Position

Request = dict[str, Any]

# What an extension may change: how long the student learns, and the control with it.
EPOCHS = "config.epochs"
SHOWN = 5


def request_of(spec: TrainSpec | GuideSpec) -> Request:
    """The fields of a spec, by their dotted names, without what is default: a field that a later version adds does not
    make it another run. Its epochs are always among them."""
    return dict(_flat(spec.model_dump(mode="json", exclude_defaults=True))) | {EPOCHS: spec.config.epochs}


def differences(before: Request, request: Request) -> dict[str, str]:
    """The fields in which two runs differ, each with its two values in words."""

    def shown(said: Request, field: str) -> str:
        return repr(said[field]) if field in said else "the default"

    return {
        field: f"{field} was {shown(before, field)} and is {shown(request, field)}"
        for field in sorted(before.keys() | request.keys())
        if before.get(field) != request.get(field)
    }


def why_not(before: Request, request: Request, *, extends: bool) -> str | None:
    """Why a run cannot go on from where one that was asked for `before` has come to; None if it can.

    Who `extends` it may ask for more epochs.
    """
    found = differences(before, request)
    if not found:
        return None
    if extends and found.keys() == {EPOCHS} and before[EPOCHS] < request[EPOCHS]:
        if "config.patience" in request:
            return "a run with patience ends when it has learnt enough, and cannot be extended"
        if "config.seeds" in request:
            return "a run of several seeds has only the last one's weights to go on from, and cannot be extended"
        if (guide := request.get("config.rounds.teacher")) is not None:
            return f"rounds.teacher {guide!r} was planned for {before[EPOCHS]} epochs, and cannot be extended"
        return None
    words = [*found.values()][:SHOWN] + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])
    longer = found.keys() == {EPOCHS} and before[EPOCHS] < request[EPOCHS]
    advice = "; to go on for more epochs is to extend it (--extend-to)" if longer else ""
    return f"it was saved by a run with another spec: {', '.join(words)}{advice}"


def extend(position: Position, before: Request, request: Request) -> None:
    """Let a run go on for more epochs: the student, and control and baselines as far. The teacher and its labels stay.

    Whoever had come to the end takes up the work from its last weights, with a fresh optimizer and at the rate that the
    longer schedule has at that epoch; a control that was under way begins anew. The position remembers that.
    """
    if "student" in position.outcomes:
        position.current = None  # of the control, which begins anew: its turn comes after the student's
    position.extensions += ({"epochs": before[EPOCHS], "to": request[EPOCHS], "step": position.step},)
    position.report = None
    position.measured, position.evidence = (), None
    for phase in ("student", "control", "label_smoothing"):
        if phase in position.outcomes:
            position.reopened[phase] = position.outcomes.pop(phase)
    position.finished = tuple(phase for phase in position.finished if phase.startswith(("teacher", "labelling")))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
