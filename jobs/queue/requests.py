"""What users ask of jobs: cancel, pause, resume, another priority. Each is one conditional UPDATE.

Never fenced: what a worker holds is only asked for, in a column that its next heartbeat reads.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, literal, select, update
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock
from jobs.endings import Ending
from jobs.envelope import Change
from jobs.errors import JobNotFound, NotAllowed
from jobs.job import get_job, lock_job
from jobs.log import events
from jobs.log.events import NewEvent
from jobs.states import ACTIONS, FINAL, State
from jobs.tables import Job


def cancel(
    session: Session, job_id: str, now: datetime | None = None, *, ending: Ending | None = None
) -> tuple[Job, bool]:
    """Cancel a job that waits; ask the worker of one that runs. False if that was done before.

    `ending` says why, where it was not somebody who asked.
    """
    changed = _cancel(session, _one(job_id), now, ending)
    job = get_job(session, job_id)
    if not changed and job.state not in (State.RUNNING, State.CANCELLED):
        raise NotAllowed(job_id, job.state, "cancel", ACTIONS[job.state])
    return job, bool(changed)


def cancel_all(
    session: Session,
    matching: Sequence[ColumnElement[bool]],
    now: datetime | None = None,
    *,
    ending: Ending | None = None,
) -> list[str]:
    """Cancel every job that matches and has not ended. Returns the ids of those for which that is news."""
    # Locked in one order, so that two at the same moment do not deadlock.
    session.execute(select(Job.id).where(*matching, Job.state.not_in(FINAL)).order_by(Job.id).with_for_update())
    return [row.id for row in _cancel(session, matching, now, ending)]


def pause(session: Session, job_id: str, now: datetime | None = None) -> tuple[Job, bool]:
    """Put a job that waits aside; ask the worker of one that runs to. False if that was done before."""
    waits, at = Job.state == State.QUEUED, clock.now_or(now)
    changed = _ask(
        session,
        (*_one(job_id), Job.state.in_([State.QUEUED, State.RUNNING]), Job.pause_requested_at.is_(None)),
        {"state": case((waits, _state(State.PAUSED)), else_=Job.state), "pause_requested_at": at},
        {State.RUNNING: "pause_requested"},
        now,
    )
    job = get_job(session, job_id)
    if not changed and job.state not in (State.RUNNING, State.PAUSED):
        raise NotAllowed(job_id, job.state, "pause", ACTIONS[job.state])
    return job, bool(changed)


def resume(session: Session, job_id: str, now: datetime | None = None) -> tuple[Job, bool]:
    """Queue a paused job again, to go on from its last checkpoint; a pause that was only asked for is taken back.

    False if there was nothing to do.
    """
    paused, job = Job.state == State.PAUSED, get_job(session, job_id)
    values: dict[str, Any] = {
        "state": case((paused, _state(State.QUEUED)), else_=Job.state),
        "pause_requested_at": None,
    }
    if job.max_queue_seconds is not None:  # the time for which it was put aside does not count
        values["start_by"] = clock.after(timedelta(seconds=job.max_queue_seconds), now)
    changed = _ask(
        session,
        (*_one(job_id), Job.state.in_([State.PAUSED, State.RUNNING]), Job.pause_requested_at.is_not(None)),
        values,
        {State.RUNNING: "pause_withdrawn"},
        now,
    )
    job = get_job(session, job_id)
    if not changed and job.state not in (State.RUNNING, State.QUEUED):
        raise NotAllowed(job_id, job.state, "resume", ACTIONS[job.state])
    return job, bool(changed)


def change(session: Session, job_id: str, wanted: Change, now: datetime | None = None) -> Job:
    """Another name, other labels, another priority (which matters while the job waits). What is so already is no
    change, and nothing is said of it."""
    lock_job(session, job_id)
    job, asked = get_job(session, job_id), wanted.model_dump(exclude_unset=True)
    changes = {name: value for name, value in asked.items() if getattr(job, name) != value}
    if not changes:
        return job
    changed = session.execute(
        update(Job)
        .where(*_one(job_id))
        .values(**changes, updated_at=clock.now_or(now), events_seq=Job.events_seq + 1)
        .returning(*events.COLUMNS)
        .execution_options(synchronize_session=False)
    ).one()
    events.append(session, changed, [NewEvent("changed", changes)])
    session.refresh(job)
    return job


def _cancel(
    session: Session, matching: Sequence[ColumnElement[bool]], now: datetime | None, ending: Ending | None
) -> Sequence[Any]:
    at, why = clock.now_or(now), {} if ending is None else {"error": ending.stored()}
    nobody_has_it = Job.state != State.RUNNING
    return _ask(
        session,
        (
            *matching,
            Job.state.in_([State.QUEUED, State.RUNNING, State.PAUSED]),
            Job.cancel_requested_at.is_(None),
        ),
        {
            "state": case((nobody_has_it, _state(State.CANCELLED)), else_=Job.state),
            "finished_at": case((nobody_has_it, at), else_=Job.finished_at),
            "cancel_requested_at": at,
            **why,
        },
        {State.RUNNING: "cancel_requested"},
        now,
        why,
    )


def _ask(
    session: Session,
    matching: Sequence[ColumnElement[bool]],
    values: Mapping[str, Any],
    asked: Mapping[State, str],
    now: datetime | None,
    why: Mapping[str, Any] = {},  # nobody changes it
) -> Sequence[Any]:
    """Change what matches. The event is a change of state, and `why`, or that it was `asked` for where a worker has the
    job."""
    rows = session.execute(
        update(Job)
        .where(*matching)
        # Who asks for a job to go on has looked at it: it does not back off any more.
        .values(**values, retry_at=None, updated_at=clock.now_or(now), events_seq=Job.events_seq + 1)
        .returning(*events.COLUMNS, Job.state)
        .execution_options(synchronize_session=False)
    ).all()
    events.append_each(
        session,
        [
            (
                row,
                [
                    NewEvent(asked[row.state], {})
                    if row.state in asked
                    else NewEvent("state", {"state": row.state, **why})
                ],
            )
            for row in rows
        ],
    )
    return rows


def _one(job_id: str) -> tuple[ColumnElement[bool], ...]:
    if not ids.is_id("job", job_id):
        raise JobNotFound(job_id)
    return (Job.id == job_id,)


def _state(state: State) -> ColumnElement[State]:
    return literal(state, Job.state.type)
