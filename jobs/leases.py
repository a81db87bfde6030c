"""All that a worker may write, and every write of it fenced.

A claim is the right to work on one attempt of one job. The fence is (attempt, owner, running): a worker that
slept through its lease matches no row any more, gets LeaseLost and drops its work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, case, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from jobs import clock, history, ids, plain, resources, retention, teachers
from jobs.attempts import SET_DOWN, give_up, moved
from jobs.errors import AlreadyWritten, LeaseLost
from jobs.history import Said
from jobs.models import Checkpoint, File, FileKind, Job, MetricPoint
from jobs.resources import Offer
from jobs.retention import NewFile
from jobs.states import FINAL, State


@dataclass(frozen=True)
class Claim:
    """What a worker got: the job's resolved spec, and where to go on from."""

    job_id: str
    attempt: int
    worker: str
    spec: dict[str, Any] = field(repr=False)
    resume: str | None
    """The newest resume file, relative to the data folder."""
    checkpoint_step: int
    max_run_seconds: float | None = None
    run_seconds: float = 0.0
    """How long earlier attempts have run."""
    max_stall_seconds: float | None = None
    memory_bytes: int = 0
    """What its trainer may use of the machine's memory; 0: what the worker allows."""
    teacher: str | None = None
    """The weights of another job's teacher, relative to the data folder: if the spec wants it and it is still there."""


@dataclass(frozen=True)
class Requests:
    """What users have asked of a running job."""

    cancel: bool
    pause: bool


@dataclass(frozen=True)
class Published:
    checkpoint_id: str
    superseded: list[str]
    """Paths to delete after the commit."""


# -- claiming ---------------------------------------------------------------------------------------------


def claim(
    session: Session,
    *,
    worker: str,
    ttl: timedelta,
    offer: Offer | None = None,
    job_id: str | None = None,
    now: datetime | None = None,
) -> Claim | None:
    """Take the first job that waits (or `job_id`, if it still does) and that suits `offer`; None if there is none.

    A stall is counted in advance, and taken back by the first progress: nobody can count it for a worker that is dead.
    """
    waiting = aliased(Job)
    first = select(waiting.id).where(waiting.state == State.QUEUED)
    if offer is not None:
        first = first.where(*resources.suits(offer, waiting))
    if job_id is not None:
        if not ids.is_id("job", job_id):
            return None
        first = first.where(waiting.id == job_id)
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
            lease_owner=worker,
            lease_expires_at=clock.after(ttl, now),
            started_at=case((Job.started_at.is_(None), at), else_=Job.started_at),
            events_seq=Job.events_seq + 2,
            updated_at=at,
        )
        .returning(
            *history.COLUMNS,
            Job.resolved_spec,
            Job.checkpoint_step,
            Job.max_run_seconds,
            Job.run_seconds,
            Job.max_stall_seconds,
            Job.needs_memory_bytes,
        )
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None

    step = row.checkpoint_step
    history.append(
        session,
        row,
        [Said("state", {"state": State.RUNNING}), Said("claimed", {"worker": worker, "checkpoint_step": step})],
    )
    _cut_metrics_back(session, row.id, step)
    resume, _ = retention.newest_resume(session, row.id)
    teacher = teachers.path(session, row.id, row.resolved_spec)
    return Claim(
        row.id,
        row.attempt,
        worker,
        row.resolved_spec,
        resume,
        step,
        max_run_seconds=row.max_run_seconds,
        run_seconds=row.run_seconds,
        max_stall_seconds=row.max_stall_seconds,
        memory_bytes=row.needs_memory_bytes,
        teacher=teacher,
    )


def _cut_metrics_back(session: Session, job_id: str, step: int) -> None:
    """What came after the checkpoint is about to happen again."""
    session.execute(
        delete(MetricPoint)
        .where(MetricPoint.job_id == job_id, MetricPoint.step > step)
        .execution_options(synchronize_session=False)
    )


# -- the fence --------------------------------------------------------------------------------------------


def _fence(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id == claim.job_id,
        Job.attempt == claim.attempt,
        Job.lease_owner == claim.worker,
        Job.state == State.RUNNING,
    )


def _change(session: Session, claim: Claim, values: Mapping[str, Any], messages: range | None = None) -> Row[Any]:
    """The one door through which a worker changes a job: a conditional UPDATE that matches, or LeaseLost.

    It also locks the row, so whatever else the transaction writes about the job is fenced by it. `messages` says which
    of the attempt's messages this is, the first being 0: they are written once, also if the answer to a commit is lost
    and the worker tries again. It gets AlreadyWritten then.
    """
    where = _fence(claim)
    if messages is not None:
        where += (Job.messages == messages.start,)
        values = {**values, "messages": messages.stop}
    row = session.execute(
        update(Job)
        .where(*where)
        .values(**values)
        .returning(*history.COLUMNS, Job.state, Job.cancel_requested_at, Job.pause_requested_at, Job.error)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        written = session.execute(select(Job.messages).where(*_fence(claim))).scalar_one_or_none()
        if messages is not None and written is not None and written > messages.start:
            raise AlreadyWritten(claim.job_id, written)
        raise LeaseLost(claim.job_id, claim.attempt)
    return row


# -- while it runs ----------------------------------------------------------------------------------------


def renew(
    session: Session, claim: Claim, *, ttl: timedelta, ran_seconds: float = 0.0, now: datetime | None = None
) -> Requests:
    """Keep the lease for another `ttl`. `ran_seconds` says how long this attempt has run so far."""
    changes = {"lease_expires_at": clock.after(ttl, now)} | _ran(claim, ran_seconds)
    row = _change(session, claim, changes)
    return Requests(cancel=row.cancel_requested_at is not None, pause=row.pause_requested_at is not None)


def record(
    session: Session,
    claim: Claim,
    *,
    events: Sequence[Mapping[str, Any]] = (),
    metrics: Iterable[tuple[str, int, float]] = (),
    phase: str | None = None,
    progress: Mapping[str, Any] | None = None,
    latest_metrics: Mapping[str, float] | None = None,
    got_further: bool = False,
    messages: range | None = None,
    now: datetime | None = None,
) -> None:
    """Write down what the trainer said: events ({"type", "data"}), points of curves, where it is.

    `got_further`: it keeps, elsewhere than in a checkpoint, more than this attempt began with, and the next one will go
    on from there. That ends the row of stalls, as a new checkpoint does.
    `messages` says which of its messages these are, here as in `publish` and `publish_file`; see `_change`.
    """
    given = {"phase": phase, "progress": progress, "latest_metrics": latest_metrics}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if got_further:
        changes["stalls"] = 0
    said = [Said(event["type"], dict(event["data"])) for event in events]
    counted = {"events_seq": Job.events_seq + len(said), "updated_at": clock.now_or(now)}
    row = _change(session, claim, changes | counted, messages)
    history.append(session, row, said)
    _write_metrics(session, row, metrics)


def _write_metrics(session: Session, row: Row[Any], metrics: Iterable[tuple[str, int, float]]) -> None:
    # One value for each (name, step); the last one said wins, in this batch as in the table.
    points = {(plain.clean(name), step): float(value) for name, step, value in metrics}
    if not points:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(MetricPoint)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[MetricPoint.job_id, MetricPoint.name, MetricPoint.step],
            set_={"value": statement.excluded.value, "at": statement.excluded.at},
        ),
        [
            {"job_id": row.id, "name": name, "step": step, "value": value, "at": row.updated_at}
            for (name, step), value in points.items()
        ],
    )


# -- files ------------------------------------------------------------------------------------------------


def publish(
    session: Session,
    claim: Claim,
    *,
    phase: str,
    step: int,
    epoch: int,
    best: bool,
    metrics: Mapping[str, float],
    files: Sequence[NewFile],
    messages: range | None = None,
    now: datetime | None = None,
) -> Published:
    """Make a checkpoint visible. A new one (a later step than any before) ends the row of stalls.

    What is kept of those before is for `jobs.retention` to say.
    """
    assert files, "a checkpoint without a file is a metric"
    retention.check(files)
    is_new = Job.checkpoint_step < step
    checkpoint_id = ids.new("ckpt")
    facts = {"phase": phase, "step": step, "epoch": epoch, "best": best, "metrics": dict(metrics)}
    row = _change(
        session,
        claim,
        {
            "checkpoint_step": case((is_new, step), else_=Job.checkpoint_step),
            "stalls": case((is_new, 0), else_=Job.stalls),
            "events_seq": Job.events_seq + 1,
            "updated_at": clock.now_or(now),
        },
        messages,
    )
    history.append(session, row, [Said("checkpoint", {"checkpoint_id": checkpoint_id, **facts})])

    if best:
        session.execute(
            update(Checkpoint)
            .where(Checkpoint.job_id == claim.job_id, Checkpoint.best)
            .values(best=False)
            .execution_options(synchronize_session=False)
        )
    session.execute(
        insert(Checkpoint),
        [
            {
                "id": checkpoint_id,
                "job_id": claim.job_id,
                "attempt": claim.attempt,
                "created_at": row.updated_at,
                **facts,
            }
        ],
    )
    retention.keep(session, claim.job_id, files, at=row.updated_at, checkpoint_id=checkpoint_id)
    return Published(checkpoint_id, retention.forget_superseded(session, claim.job_id))


def publish_file(
    session: Session, claim: Claim, file: NewFile, *, messages: range | None = None, now: datetime | None = None
) -> list[str]:
    """Make an artifact visible; one of the same name is replaced. Returns paths to delete after the commit."""
    retention.check([file])
    row = _change(session, claim, {"updated_at": clock.now_or(now)}, messages)
    same_name = select(File).where(File.job_id == claim.job_id, File.kind == FileKind.ARTIFACT, File.name == file.name)
    replaced = retention.forget(session, claim.job_id, list(session.execute(same_name).scalars()))
    retention.keep(session, claim.job_id, [file], at=row.updated_at, checkpoint_id=None)
    return [path for path in replaced if path != file.path]


def discard_resume(session: Session, claim: Claim, *, now: datetime | None = None) -> Claim:
    """The claim's resume file is damaged: forget it and go on from the one before, or from the start.

    The caller deletes the old claim's `resume` after the commit.
    """
    _change(session, claim, {"updated_at": clock.now_or(now)})
    resumes = retention.resumes(session, claim.job_id)
    retention.forget(session, claim.job_id, [file for file, _ in resumes if file.path == claim.resume])
    resume, step = retention.newest_resume(session, claim.job_id)
    _change(session, claim, {"checkpoint_step": step})
    _cut_metrics_back(session, claim.job_id, step)
    return replace(claim, resume=resume, checkpoint_step=step)


# -- the end of an attempt --------------------------------------------------------------------------------


def release(
    session: Session,
    claim: Claim,
    state: State,
    *,
    error: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
    ran_seconds: float | None = None,
    now: datetime | None = None,
) -> list[str]:
    """The last word: the job ends in `state`. A finish that comes first wins over a request to cancel.

    Returns paths to delete after the commit: a job that succeeded needs no resume files.
    """
    assert state in FINAL, "to put a job back, use requeue"
    at = clock.now_or(now)
    row = _change(
        session,
        claim,
        SET_DOWN
        | _ran(claim, ran_seconds)
        | {
            "state": state,
            "error": None if error is None else dict(error),
            "result": None if result is None else dict(result),
            "finished_at": at,
            "updated_at": at,
        },
    )
    history.append(session, row, [moved(row)])
    if state is not State.SUCCEEDED:
        return []
    return retention.forget(session, claim.job_id, [file for file, _ in retention.resumes(session, claim.job_id)])


def requeue(
    session: Session,
    claim: Claim,
    *,
    keep_stall: bool,
    max_stalls: int,
    error: Mapping[str, Any] | None = None,
    ran_seconds: float | None = None,
    now: datetime | None = None,
) -> State:
    """Put the job back: `keep_stall` after a crash, not when the worker merely drains or was asked to pause the job.

    It ends instead if somebody asked to cancel, or if this was one crash too many; it is paused if somebody asked for
    that. Returns the new state.
    """
    crash = dict(error) if error else _crashed(max_stalls)
    changes = give_up(max_stalls if keep_stall else None, crash, clock.now_or(now)) | _ran(claim, ran_seconds)
    if not keep_stall:
        changes["stalls"] = case((Job.stalls > 0, Job.stalls - 1), else_=0)
    row = _change(session, claim, changes)
    history.append(session, row, [moved(row) if row.state in FINAL else moved(row, error=error)])
    return State(row.state)


def put_back_all_of(session: Session, worker: str, *, max_stalls: int, now: datetime | None = None) -> list[str]:
    """Put back what a worker holds without knowing, since the answer to its claim was lost. Returns the jobs' ids."""
    held = select(Job.id, Job.attempt).where(Job.lease_owner == worker, Job.state == State.RUNNING)
    claims = [
        Claim(job_id, attempt, worker, spec={}, resume=None, checkpoint_step=-1)
        for job_id, attempt in session.execute(held).all()
    ]
    for claim in claims:
        requeue(session, claim, keep_stall=False, max_stalls=max_stalls, now=now)
    return [claim.job_id for claim in claims]


def _ran(claim: Claim, seconds: float | None) -> dict[str, Any]:
    """How long the job has run once this attempt has run so long; None: as long as it said last."""
    return {} if seconds is None else {"run_seconds": claim.run_seconds + seconds}


def _crashed(max_stalls: int) -> dict[str, Any]:
    return {
        "code": "crashed",
        "message": f"The trainer crashed in {max_stalls} attempts in a row without progress.",
        "hint": "The job's log shows what it printed last.",
        "retryable": True,
    }
