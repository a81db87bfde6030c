"""What clients are shown of sweeps."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.jobs.views import job_url
from jobs import tables as module
from jobs.envelope import Limits
from jobs.states import State
from jobs.sweeps import standings
from jobs.sweeps.plan import Budget, Plan, Pruning
from jobs.sweeps.standings import Standing
from jobs.tables import SweepState


class SweepUrls(BaseModel):
    self: str
    cancel: str
    pause: str
    resume: str
    pareto: str
    jobs: str


class Sweep(BaseModel):
    id: str
    object: Literal["sweep"]
    status: SweepState
    name: str | None
    labels: dict[str, str]
    priority: int
    limits: Limits
    keep_last: int
    mode: str
    config: dict[str, Any]
    space: dict[str, dict[str, list[Any]]]
    sampler: str
    seed: int
    budget: Budget
    pruning: Pruning | None
    share_teacher: bool
    planned: Annotated[int, Field(description="how many members there will be at most")]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    urls: SweepUrls


class Member(BaseModel):
    """A run of the sweep. What it has not come to yet is null."""

    number: int
    point: Annotated[dict[str, Any], Field(description="what it has of its own, by field")]
    job_id: str | None
    status: Annotated[State | None, Field(description="null: its job was never made, or has been deleted")]
    trains_teacher: Annotated[bool, Field(description="of others too, which wait for it")]
    error: Annotated[str | None, Field(description="the code of its ending, or why its point was refused")]
    run_seconds: float
    validation_top1: Annotated[
        float | None, Field(description="of its best epoch once it has succeeded, until then the newest")
    ]
    test_gain: Annotated[float | None, Field(description="over its control; nothing is chosen by it")]
    parameters: float | None
    latency_seconds: Annotated[
        float | None, Field(description="of one image; the least measured of such a net in the sweep")
    ]
    on_front: Annotated[bool, Field(description="no other is at least as accurate, small and fast, and better in one")]
    url: str | None


class SweepTable(Sweep):
    """A sweep with its members."""

    counts: Annotated[dict[str, int], Field(description="members by status")]
    run_seconds: Annotated[float, Field(description="of training, over all members")]
    best: Annotated[Member | None, Field(description="the one with the highest validation accuracy")]
    members: list[Member]


def sweep(row: module.Sweep) -> Sweep:
    return Sweep(**_facts(row))


def table(row: module.Sweep, found: Sequence[Standing]) -> SweepTable:
    front, best = standings.front(found), standings.best(found)
    return SweepTable(
        **_facts(row),
        counts=Counter(_word(one) for one in found),
        run_seconds=round(sum(one.run_seconds for one in found), 3),
        best=None if best is None else member(best, on_front=best.number in front),
        members=[member(one, on_front=one.number in front) for one in found],
    )


def member(one: Standing, *, on_front: bool) -> Member:
    return Member(
        number=one.number,
        point=one.point,
        job_id=one.job_id,
        status=one.state,
        trains_teacher=one.leads,
        error=one.code or one.refusal,
        run_seconds=round(one.run_seconds, 3),
        validation_top1=one.validation,
        test_gain=one.gain,
        parameters=one.parameters,
        latency_seconds=one.latency_seconds,
        on_front=on_front,
        url=None if one.state is None or one.job_id is None else job_url(one.job_id),
    )


def sweep_url(sweep_id: str) -> str:
    return f"/sweeps/{sweep_id}"


def _word(one: Standing) -> str:
    if one.state is not None:
        return one.state.value
    return "refused" if one.job_id is None else "deleted"


def _facts(row: module.Sweep) -> dict[str, Any]:
    plan, here = Plan.model_validate(row.plan), sweep_url(row.id)
    return {
        "id": row.id,
        "object": "sweep",
        "status": row.state,
        "name": plan.name,
        "labels": plan.labels,
        "priority": plan.priority,
        "limits": plan.limits,
        "keep_last": plan.keep_last,
        "mode": plan.mode,
        "config": plan.config,
        "space": {name: domain.model_dump(by_alias=True, exclude_none=True) for name, domain in plan.space.items()},
        "sampler": plan.chooser,
        "seed": plan.seed,
        "budget": plan.budget,
        "pruning": plan.pruning,
        "share_teacher": plan.share_teacher,
        "planned": row.planned,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "finished_at": row.finished_at,
        "urls": SweepUrls(
            self=here,
            cancel=f"{here}/cancel",
            pause=f"{here}/pause",
            resume=f"{here}/resume",
            pareto=f"{here}/pareto.svg",
            jobs=f"/jobs?label=sweep%3D{row.id}",
        ),
    }
