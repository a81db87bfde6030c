"""A lease from its claim to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session, aliased

from jobs import endings
from jobs.database import clock
from jobs.endings import Ending
from jobs.files import retention
from jobs.kinds import Kind
from jobs.log import events
from jobs.log.curves import cut_back
from jobs.log.events import NewEvent
from jobs.queue import backoff, chains, fence
from jobs.queue.attempts import SET_DOWN, give_up, state_event
from jobs.queue.fence import Claim
from jobs.states import FINAL, State
from jobs.tables import Job
from jobs.teachers import lending
from jobs.workers import needs
from jobs.workers.needs import Offer


class Spent(NamedTuple):
    """What an attempt has taken so far."""

    seconds: float
    log_bytes: int = 0
    """Of the disk, for its log."""


@dataclass(frozen=True)
class Requests:
    """What users have asked of a running job."""

    cancel: bool
    pause: bool


def claim(
    session: Session,
    *,
    worker: str,
    ttl: timedelta,
    kind: Kind = Kind.DISTILLATION,
    offer: Offer | None = None,
    now: datetime | None = None,
) -> Claim | None:
    """Take the first job of a kind that waits, for nothing else, and that suits `offer` (None: any); None if there is
    none.

    A stall is counted in advance, and taken back by the first progress: nobody can count it for a worker that is dead.
    """
    waiting = aliased(Job)
    first = select(waiting.id).where(
        waiting.state == State.QUEUED,
        waiting.kind == kind,
        backoff.is_over(now, waiting),
        chains.has_its_teacher(waiting),
    )
    if offer is not None:
        first = first.where(*needs.suits(offer, waiting))
    first = first.order_by(waiting.priority.desc(), waiting.created_at, waiting.id).limit(1)
    at = clock.now_or(now)
    row = session.execute(
        update(Job)
        # PostgreSQL: workers that claim at the same moment pass by each other's rows instead of queueing up.
        .where(Job.id == first.with_for_update(skip_locked=True).scalar_subquery(), Job.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=Job.attempt + 1,
            messages=0,
            stalls=Job.stalls + 1,
            retry_at=None,
            lease_owner=worker,
            lease_expires_at=clock.after(ttl, now),
            started_at=case((Job.started_at.is_(None), at), else_=Job.started_at),
            events_seq=Job.events_seq + 2,
            updated_at=at,
        )
        .returning(
            *events.COLUMNS,
            Job.resolved_spec,
            Job.checkpoint_step,
            Job.max_run_seconds,
            Job.run_seconds,
            Job.log_bytes,
            Job.max_stall_seconds,
            Job.needs_memory_bytes,
        )
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None

    step = row.checkpoint_step
    events.append(
        session,
        row,
        [NewEvent("state", {"state": State.RUNNING}), NewEvent("claimed", {"worker": worker, "checkpoint_step": step})],
    )
    cut_back(session, row.id, step)
    resume, _ = retention.newest_resume(session, row.id)
    teachers = lending.find_weights(session, row.id, row.resolved_spec)
    return Claim(
        row.id,
        row.attempt,
        worker,
        row.resolved_spec,
        resume,
        step,
        max_run_seconds=row.max_run_seconds,
        run_seconds=row.run_seconds,
        log_bytes=row.log_bytes,
        max_stall_seconds=row.max_stall_seconds,
        memory_bytes=row.needs_memory_bytes,
        teachers=teachers,
    )


def renew(
    session: Session, claim: Claim, *, ttl: timedelta, spent: Spent | None = None, now: datetime | None = None
) -> Requests:
    """Keep the lease for another `ttl`."""
    changes = {"lease_expires_at": clock.after(ttl, now)} | _add(claim, spent)
    row = fence.change(session, claim, changes)
    return Requests(cancel=row.cancel_requested_at is not None, pause=row.pause_requested_at is not None)


def release(
    session: Session,
    claim: Claim,
    state: State,
    *,
    error: Ending | None = None,
    result: Mapping[str, Any] | None = None,
    spent: Spent | None = None,
    now: datetime | None = None,
) -> list[str]:
    """The last word: the job ends in `state`. A finish that comes first wins over a request to cancel.

    Returns paths to delete after the commit: a job that succeeded needs no resume files.
    """
    assert state in FINAL, "to put a job back, use requeue"
    at = clock.now_or(now)
    row = fence.change(
        session,
        claim,
        SET_DOWN
        | _add(claim, spent)
        | {
            "state": state,
            # Of one that is cancelled: why, if somebody has said so when they asked.
            "error": error.stored() if error is not None else Job.error if state is State.CANCELLED else None,
            "result": None if result is None else dict(result),
            "finished_at": at,
            "updated_at": at,
        },
    )
    events.append(session, row, [state_event(row)])
    if state is not State.SUCCEEDED:
        return []
    return retention.forget(session, claim.job_id, [file for file, _ in retention.resumes(session, claim.job_id)])


def requeue(
    session: Session,
    claim: Claim,
    *,
    keep_stall: bool,
    max_stalls: int,
    first_pause: timedelta = timedelta(0),
    error: Ending | None = None,
    spent: Spent | None = None,
    now: datetime | None = None,
) -> State:
    """Put the job back: `keep_stall` after a crash, not when the worker merely drains or was asked to pause the job.

    It ends instead if somebody asked to cancel, or if this was one crash too many; it is paused if somebody asked for
    that. After a crash without progress it waits before it is tried again (`jobs.queue.backoff`), `first_pause` after
    the first in a row. Returns the new state.
    """
    crash, at = error or endings.crashed_too_often(max_stalls), clock.now_or(now)
    if keep_stall:
        changes = give_up(max_stalls, crash, at, backoff.retry_at(first_pause, now))
    else:
        changes = give_up(None, crash, at) | {"stalls": case((Job.stalls > 0, Job.stalls - 1), else_=0)}
    row = fence.change(session, claim, changes | _add(claim, spent))
    facts = {} if row.state in FINAL else {"error": error and error.stored(), "retry_at": _text(row.retry_at)}
    events.append(session, row, [state_event(row, **facts)])
    return State(row.state)


def requeue_all_of(
    session: Session, worker: str, *, max_stalls: int, kind: Kind = Kind.DISTILLATION, now: datetime | None = None
) -> list[str]:
    """Put back what of this kind a worker holds without knowing, since the answer to its claim was lost. Returns the
    jobs' ids."""
    mine = (Job.lease_owner == worker, Job.state == State.RUNNING, Job.kind == kind)
    held = select(Job.id, Job.attempt).where(*mine)
    claims = [
        Claim(job_id, attempt, worker, spec={}, resume=None, checkpoint_step=-1)
        for job_id, attempt in session.execute(held).all()
    ]
    for claim in claims:
        requeue(session, claim, keep_stall=False, max_stalls=max_stalls, now=now)
    return [claim.job_id for claim in claims]


def _text(moment: datetime | None) -> str | None:
    """As the API writes it."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _add(claim: Claim, spent: Spent | None) -> dict[str, Any]:
    """What the job has taken, with this attempt; None: as much as it said last."""
    if spent is None:
        return {}
    return {"run_seconds": claim.run_seconds + spent.seconds, "log_bytes": claim.log_bytes + spent.log_bytes}
