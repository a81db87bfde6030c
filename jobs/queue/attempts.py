"""How an attempt ends: where its job goes, and the event that says so."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, case, literal, null

from jobs.endings import Ending
from jobs.log.events import NewEvent
from jobs.states import State
from jobs.tables import Job

# What every move out of `running` does: nobody holds the job, and it says so.
SET_DOWN: dict[str, Any] = {
    "lease_owner": None,
    "lease_expires_at": None,
    "phase": None,
    "events_seq": Job.events_seq + 1,
}


def give_up(
    max_stalls: int | None,
    ending: Ending,
    at: ColumnElement[datetime],
    retry_at: ColumnElement[datetime] | None = None,
) -> dict[str, Any]:
    """Cancelled if somebody asked, failed after `max_stalls` stalls (None: never), else paused or queued again, to be
    tried not before `retry_at`."""
    asked = Job.cancel_requested_at.is_not(None)
    stalled = literal(False) if max_stalls is None else Job.stalls >= max_stalls
    rests = Job.pause_requested_at.is_not(None)
    ends = asked | stalled
    return SET_DOWN | {
        "state": case(
            (asked, literal(State.CANCELLED, Job.state.type)),
            (stalled, literal(State.FAILED, Job.state.type)),
            (rests, literal(State.PAUSED, Job.state.type)),
            else_=literal(State.QUEUED, Job.state.type),
        ),
        "error": case((~asked & stalled, literal(ending.stored(), Job.error.type)), else_=Job.error),
        "retry_at": null() if retry_at is None else case((ends | rests, null()), else_=retry_at),
        "finished_at": case((ends, at), else_=Job.finished_at),
        "updated_at": at,
    }


def state_event(row: Row[Any], **facts: Any) -> NewEvent:
    """The event of a change of state; `error` is the job's, unless another one is told."""
    told = {"error": row.error} | facts
    return NewEvent("state", {"state": row.state} | {name: fact for name, fact in told.items() if fact is not None})
