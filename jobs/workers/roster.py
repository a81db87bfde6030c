"""Who is there to work: workers describe themselves, with a heartbeat; users ask them to take no more jobs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from jobs.database import clock
from jobs.errors import WorkerNotFound
from jobs.kinds import Kind
from jobs.states import State
from jobs.tables import Job, Worker
from jobs.workers.needs import Offer

# A heartbeat older than this is of a worker that is dead, or cut off.
LOST_AFTER = timedelta(seconds=15)
# How long a lost worker is still shown.
FORGOTTEN_AFTER = timedelta(days=1)


class Status(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    """Takes no more jobs, and still gives back the one it has."""

    DRAINED = "drained"
    """Takes no jobs until it is undrained."""

    LOST = "lost"
    """Has been silent for too long."""


# Light work keeps no worker from what it is there for.
_HELD = select(Job.lease_owner, Job.id).where(Job.state == State.RUNNING, Job.kind == Kind.DISTILLATION).subquery()
_EVERYBODY = (
    select(Worker, _HELD.c.id, clock.now_or(None))
    .outerjoin(_HELD, _HELD.c.lease_owner == Worker.name)
    .order_by(Worker.started_at.desc(), Worker.name)
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True)
class Self:
    """What a worker says of itself."""

    name: str
    host: str
    pid: int
    version: str
    offer: Offer


@dataclass(frozen=True)
class WorkerNow:
    """A worker as it is at this moment."""

    name: str
    host: str
    pid: int
    version: str
    offer: Offer
    status: Status
    trouble: str | None
    job_id: str | None
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    drain_requested_at: datetime | None


def beat(session: Session, me: Self, *, trouble: str | None = None, now: datetime | None = None) -> bool:
    """A worker's heartbeat, with its `trouble` if something keeps it from taking jobs. True if it is to drain."""
    at = clock.now_or(now)
    row = session.execute(
        update(Worker)
        .where(Worker.name == me.name)
        .values(heartbeat_at=at, trouble=trouble)
        .returning(Worker.drain_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is not None:
        return row.drain_requested_at is not None
    this_moment = now or clock.read(session)
    session.add(
        Worker(
            name=me.name,
            host=me.host,
            pid=me.pid,
            version=me.version,
            gpus=me.offer.gpus,
            gpu_names=list(me.offer.gpu_names),
            memory_bytes=me.offer.memory_bytes,
            trouble=trouble,
            started_at=this_moment,
            heartbeat_at=this_moment,
        )
    )
    session.flush()
    return False


def leave(session: Session, name: str) -> None:
    """A worker has ended in peace: it is no longer shown."""
    session.execute(delete(Worker).where(Worker.name == name).execution_options(synchronize_session=False))


def forget_lost(session: Session, *, now: datetime | None = None) -> int:
    """Forget workers that have been silent for a day and hold no job. Returns how many."""
    holds_a_job = exists().where(Job.lease_owner == Worker.name)
    found = session.execute(
        delete(Worker)
        .where(Worker.heartbeat_at < clock.after(-FORGOTTEN_AFTER, now), ~holds_a_job)
        .returning(Worker.name)
        .execution_options(synchronize_session=False)
    ).all()
    return len(found)


def request_drain(session: Session, name: str, *, drain: bool, now: datetime | None = None) -> bool:
    """Ask a worker to give its job back and take no more, or to take jobs again. False if that was so before."""
    asked = Worker.drain_requested_at
    changed = session.execute(
        update(Worker)
        .where(Worker.name == name, asked.is_(None) if drain else asked.is_not(None))
        .values(drain_requested_at=clock.now_or(now) if drain else None)
        .returning(Worker.name)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if changed is None:
        one_now(session, name)  # there is such a worker
    return changed is not None


def all_now(session: Session, *, now: datetime | None = None) -> list[WorkerNow]:
    """Every worker that was heard of lately, the one that started last first."""
    return _now(session, now=now)


def one_now(session: Session, name: str, *, now: datetime | None = None) -> WorkerNow:
    """One of them; raises `WorkerNotFound`."""
    found = _now(session, name, now=now)
    if not found:
        raise WorkerNotFound(name)
    return found[0]


def _now(session: Session, name: str | None = None, *, now: datetime | None = None) -> list[WorkerNow]:
    found = _EVERYBODY if name is None else _EVERYBODY.where(Worker.name == name)
    return [_as_it_is(worker, job_id, now or at) for worker, job_id, at in session.execute(found)]


def _as_it_is(worker: Worker, job_id: str | None, now: datetime) -> WorkerNow:
    age = now - worker.heartbeat_at
    if age > LOST_AFTER:
        status = Status.LOST
    elif worker.drain_requested_at is not None:
        status = Status.DRAINING if job_id else Status.DRAINED
    else:
        status = Status.BUSY if job_id else Status.IDLE
    return WorkerNow(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        version=worker.version,
        offer=Offer(worker.gpus, worker.memory_bytes, tuple(worker.gpu_names)),
        status=status,
        trouble=worker.trouble,
        job_id=job_id,
        started_at=worker.started_at,
        heartbeat_at=worker.heartbeat_at,
        heartbeat_age_seconds=max(age.total_seconds(), 0.0),
        drain_requested_at=worker.drain_requested_at,
    )
