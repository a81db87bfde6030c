"""The next members of a sweep, when there is room for them, and its end when there will be no more.

Whoever advances a sweep reads first, at leisure, and then writes in one transaction, which holds the sweep's row and
finds the members that it has read: a member is made once, and never after somebody has paused or cancelled the sweep. A
few at a time, for SQLite has one writer.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import endings
from jobs.database import clock
from jobs.database.engine import Sessions
from jobs.errors import SpecRefused
from jobs.queue import requests
from jobs.queue.submit import Submission, add
from jobs.states import State
from jobs.sweeps import members, sampling
from jobs.sweeps.plan import Plan
from jobs.sweeps.space import Point
from jobs.sweeps.standings import Standing, standings
from jobs.tables import Job, Member, Sweep, SweepState
from kd.spec.faults import sentence

TOGETHER = 20
"""Members that one transaction makes."""


@dataclass(frozen=True)
class Intent:
    """What is to be done to a sweep of which so many members are there."""

    members: int
    points: list[Point] = field(default_factory=list)
    stop: bool = False
    """Its budget is spent."""
    finish: bool = False


def running(session: Session) -> list[str]:
    """The sweeps that go on."""
    return list(session.execute(select(Sweep.id).where(Sweep.state == SweepState.RUNNING).order_by(Sweep.id)).scalars())


def advance(db: Sessions, data_dir: Path, sweep_id: str) -> list[str]:
    """Make the members for which there is room. Returns the ids of their jobs."""
    made: list[str] = []
    while True:
        with db.read() as session:
            sweep = session.execute(select(Sweep).where(Sweep.id == sweep_id)).scalar_one_or_none()
            if sweep is None or sweep.state is not SweepState.RUNNING:
                return made
            intent = _intent(sweep, standings(session, sweep_id))
        if intent is None:
            return made
        with db.begin() as session:
            done = carry_out(session, data_dir, sweep_id, intent)
        if done is None:  # another process was faster, and will go on
            return made
        made += done
        if intent.finish or not done:
            return made


def _intent(sweep: Sweep, found: Sequence[Standing]) -> Intent | None:
    """What is to be done; None if nothing is."""
    alive = sum(one.alive for one in found)
    spent = sweep.max_run_seconds is not None and sum(one.run_seconds for one in found) >= sweep.max_run_seconds
    over = spent or len(found) >= sweep.planned
    if over and not alive:
        return Intent(len(found), finish=True)
    if spent and any(one.state is State.QUEUED for one in found):
        return Intent(len(found), stop=True)
    room = min(sweep.max_parallel - alive, sweep.planned - len(found), TOGETHER)
    if over or room <= 0:
        return None
    plan = Plan.model_validate(sweep.plan)
    if plan.chooser == "tpe" and not sampling.has_optuna():
        return None  # a process that has it will do it
    return Intent(len(found), points=next_points(plan, found, room))


def next_points(plan: Plan, found: Sequence[Standing], room: int) -> list[Point]:
    """Where the next members are."""
    first = len(found) + 1
    if plan.chooser != "tpe":
        return [plan.point(number) for number in range(first, first + room)]
    return [sampling.propose(plan, found, first)]  # the one after it is asked for with this one in view


def carry_out(
    session: Session, data_dir: Path, sweep_id: str, intent: Intent, now: datetime | None = None
) -> list[str] | None:
    """Do it, if the sweep goes on and has the members that were read. Returns the ids of new jobs; None: it has not."""
    sweep = session.execute(
        select(Sweep)
        .where(Sweep.id == sweep_id, Sweep.state == SweepState.RUNNING)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()
    count = select(func.count()).select_from(Member).where(Member.sweep_id == sweep_id)
    if sweep is None or session.execute(count).scalar_one() != intent.members:
        return None
    if intent.finish:
        at = clock.now_or(now)
        session.execute(
            update(Sweep)
            .where(Sweep.id == sweep_id)
            .values(state=SweepState.FINISHED, finished_at=at, updated_at=at)
            .execution_options(synchronize_session=False)
        )
    if intent.stop:
        ending = endings.budget_spent(sweep.max_run_seconds or 0.0)
        jobs = select(Member.job_id).where(Member.sweep_id == sweep_id)
        never_began = (Job.id.in_(jobs), Job.state == State.QUEUED, Job.started_at.is_(None))
        requests.cancel_all(session, never_began, now, ending=ending)
    return make(session, data_dir, sweep, enumerate(intent.points, intent.members + 1))


def make(
    session: Session, data_dir: Path, sweep: Sweep, points: Iterable[tuple[int, Point]], *, refuse: bool = False
) -> list[str]:
    """Add these members. Of a point that makes no spec the member says so instead (with `refuse`: raises). Returns the
    ids of the new jobs."""
    plan, made = Plan.model_validate(sweep.plan), []
    for number, point in points:
        member = Member(sweep_id=sweep.id, number=number, point=point, leads=False, judged_epoch=0)
        try:
            member.job_id = _add_job(session, data_dir, plan, member)
            made.append(member.job_id)
        except (ValidationError, SpecRefused) as error:
            if refuse:
                raise
            member.refusal = sentence(error.faults) if isinstance(error, SpecRefused) else str(error)
        session.add(member)
        session.flush()
    return made


def _add_job(session: Session, data_dir: Path, plan: Plan, member: Member) -> str:
    """The member's job, under the teacher of another one where there is one. Raises `SpecRefused`."""
    envelope = plan.envelope(member.sweep_id, member.number)
    spec = members.spec_at(plan, member.point, data_dir)
    key = member.teacher_key = members.teacher_key(spec) if plan.share_teacher else None
    leader = None if key is None else _leader(session, member.sweep_id, key)
    if leader is not None:
        given = members.assemble(plan, member.point, leader)
        borrowing = members.spec_at(plan, member.point, data_dir, teacher=leader)
        with contextlib.suppress(SpecRefused):  # it has ended without its teacher, or is gone: then this one leads
            return add(session, Submission(borrowing, given, envelope), data_dir).id
    member.leads = key is not None
    return add(session, Submission(spec, members.assemble(plan, member.point), envelope), data_dir).id


def _leader(session: Session, sweep_id: str, key: str) -> str | None:
    """The job that trains this teacher, or has."""
    found = (
        select(Member.job_id)
        .where(Member.sweep_id == sweep_id, Member.teacher_key == key, Member.leads)
        .order_by(Member.number.desc())
        .limit(1)
    )
    return session.execute(found).scalar_one_or_none()
