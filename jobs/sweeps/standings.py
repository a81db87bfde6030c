"""How the members of a sweep stand: their scores, which is the best, and which no other beats in everything.

The best is chosen on the validation split. What a member gained on the test split is shown, and decides nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.states import FINAL, State
from jobs.sweeps.space import Point
from jobs.tables import Job, Member

METRIC = "student.validation.top1"
"""By which members are compared."""


@dataclass(frozen=True)
class Standing:
    """A member as it is now."""

    number: int
    point: Point
    job_id: str | None
    state: State | None
    """None: its job was never made, or has been deleted."""
    leads: bool
    refusal: str | None
    code: str | None
    """Of its ending, if it has one."""
    epochs: int | None
    run_seconds: float
    validation: float | None
    """`METRIC` of the best epoch once it has succeeded; until then, and if it does not, the newest."""
    gain: float | None
    parameters: float | None
    macs: float | None
    latency_seconds: float | None
    """Of one image: the least that was measured of such a student, in this member or another. What else a machine does
    only adds to it, and is not to part equals."""

    @property
    def alive(self) -> bool:
        return self.state is not None and self.state not in FINAL

    @property
    def succeeded(self) -> bool:
        return self.state is State.SUCCEEDED


def standings(session: Session, sweep_id: str) -> list[Standing]:
    """Of all members there are, by number."""
    columns = (Job.state, Job.error, Job.progress, Job.run_seconds, Job.latest_metrics, Job.result)
    rows = session.execute(
        select(Member, *columns)
        .outerjoin(Job, Job.id == Member.job_id)
        .where(Member.sweep_id == sweep_id)
        .order_by(Member.number)
        .execution_options(populate_existing=True)
    )
    found = [_standing(*row) for row in rows]
    fastest: dict[tuple[float | None, float | None], float] = {}
    for one in found:
        if one.latency_seconds is not None:
            net = one.parameters, one.macs
            fastest[net] = min(one.latency_seconds, fastest.get(net, math.inf))
    return [
        one if one.latency_seconds is None else replace(one, latency_seconds=fastest[one.parameters, one.macs])
        for one in found
    ]


def best(found: Sequence[Standing]) -> Standing | None:
    """The one with the highest validation accuracy of those that succeeded; of equals the first."""
    ended = [one for one in found if one.succeeded and one.validation is not None]
    return max(ended, key=lambda one: (one.validation, -one.number), default=None)


def front(found: Sequence[Standing]) -> set[int]:
    """The numbers of those on the Pareto front: no other is at least as accurate, small and fast, and better in one."""
    measured = {one.number: costs for one in found if one.succeeded and (costs := _costs(one)) is not None}
    return {
        number for number, costs in measured.items() if not any(_beats(others, costs) for others in measured.values())
    }


def _costs(one: Standing) -> tuple[float, float, float] | None:
    if one.validation is None or one.parameters is None or one.latency_seconds is None:
        return None
    return -one.validation, one.parameters, one.latency_seconds


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def _standing(
    member: Member,
    state: State | None,
    error: Mapping[str, Any] | None,
    progress: Mapping[str, Any] | None,
    run_seconds: float | None,
    latest: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
) -> Standing:
    metrics = (result or {}).get("metrics", {})
    return Standing(
        number=member.number,
        point=member.point,
        job_id=member.job_id,
        state=state,
        leads=member.leads,
        refusal=member.refusal,
        code=(error or {}).get("code"),
        epochs=(progress or {}).get("epoch"),
        run_seconds=run_seconds or 0.0,
        validation=_number(metrics.get(METRIC, (latest or {}).get(METRIC))),
        gain=_number(metrics.get("gain")),
        parameters=_number(metrics.get("student.parameters")),
        macs=_number(metrics.get("student.macs")),
        latency_seconds=_number(metrics.get("student.latency_seconds.batch1")),
    )


def _number(value: Any) -> float | None:
    """A finite one: columns hold others as text."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
