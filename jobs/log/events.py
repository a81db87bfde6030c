"""A job's events: numbered by the very UPDATE that made them true, so that no number is missing or given twice.

Whoever changes a job adds the count of new events to `events_seq` in that UPDATE, and hands the row it
returned to `append`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, insert, select
from sqlalchemy.orm import Session

from jobs import pages
from jobs.database import storable
from jobs.job import get_job
from jobs.log import outbox
from jobs.pages import Page
from jobs.states import State
from jobs.tables import Event, Job
from kd.events import FOR_USERS

EVENTS = (
    "state",
    *(f"state.{state}" for state in State),
    "claimed",
    "changed",
    "checkpoint",
    "cancel_requested",
    "pause_requested",
    "pause_withdrawn",
    *FOR_USERS,
)
"""What a webhook may ask for: a type of events, or one change of state."""

COLUMNS = (Job.id, Job.attempt, Job.events_seq, Job.updated_at)
"""What `append` needs of the row; updated_at must have been set to the same moment."""


class NewEvent(NamedTuple):
    type: str
    data: dict[str, Any]


def append(session: Session, row: Any, events: Sequence[NewEvent]) -> None:
    """Write the events that took the last numbers of `row.events_seq`."""
    append_each(session, [(row, events)])


def append_each(session: Session, changes: Sequence[tuple[Any, Sequence[NewEvent]]]) -> None:
    """The same for many jobs that one statement has changed."""
    rows = [
        {
            "job_id": row.id,
            "seq": seq,
            "type": storable.clean(event.type),
            "attempt": row.attempt,
            "at": row.updated_at,
            "data": event.data,
        }
        for row, events in changes
        for seq, event in enumerate(events, row.events_seq - len(events) + 1)
    ]
    if rows:
        session.execute(insert(Event), rows)
        outbox.enqueue(session, changes)


def events_after(session: Session, job_id: str, seq: int = 0, limit: int = 100) -> list[Event]:
    """The events that follow number `seq`, in order."""
    get_job(session, job_id)
    return list(session.execute(_after(job_id, seq).limit(limit)).scalars())


def page_after(session: Session, job_id: str, seq: int, limit: int) -> Page[Event]:
    """The same as a page, of which the cursor is the number of its last event."""
    found = _after(job_id, seq).limit(limit + 1)
    return pages.read(session, found, limit, lambda event: str(event.seq), lambda event: pages.json_bytes(event.data))


def _after(job_id: str, seq: int) -> Select[Event]:
    return select(Event).where(Event.job_id == job_id, Event.seq > seq).order_by(Event.seq)
