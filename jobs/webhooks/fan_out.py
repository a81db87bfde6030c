"""From the outbox to the deliveries: one for each webhook that wants the event, some events at a time.

The transaction that changes 5,000 jobs must not write 100 deliveries to each of them: it would hold SQLite's only write
lock for most of a minute. (The transactional outbox, https://microservices.io/patterns/data/transactional-outbox.html.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock
from jobs.log.outbox import wants
from jobs.tables import Delivery, DeliveryState, Event, Job, OutboxEntry, Webhook

TOGETHER = 500
"""Deliveries in one transaction, about: more would hold up the other writers of SQLite."""


@dataclass(frozen=True)
class _Listener:
    id: str
    words: list[str]
    label: str | None
    joined: int


def is_due(session: Session) -> bool:
    """Whether an event waits in the outbox; it asks without the lock that every `begin()` takes on SQLite."""
    return session.execute(select(OutboxEntry.seq).limit(1)).first() is not None


def fan_out(session: Session) -> bool:
    """Write the deliveries of the events that have waited longest. Whether there was one.

    Webhooks hear of what happened while they were enabled; they, and a job's labels, are as they are now.
    """
    listeners = _listeners(session)
    first = (
        select(OutboxEntry.job_id, OutboxEntry.seq, OutboxEntry.joined)
        .order_by(OutboxEntry.at, OutboxEntry.job_id, OutboxEntry.seq)
        .limit(max(1, TOGETHER // max(1, len(listeners))))
        .with_for_update(skip_locked=True)
    )
    taken = {(job_id, seq): joined for job_id, seq, joined in session.execute(first)}
    if not taken:
        return False
    now = clock.read(session)
    # A job that was deleted meanwhile has nothing more to say.
    said = (
        select(Event.job_id, Event.seq, Event.type, Event.data, Event.at, Job.labels)
        .join(Job, Job.id == Event.job_id)
        .where(tuple_(Event.job_id, Event.seq).in_(list(taken)))
        .order_by(Event.at, Event.job_id, Event.seq)
    )
    rows = [
        {
            "id": ids.new("dlv", event.at),
            "webhook_id": listener.id,
            "job_id": event.job_id,
            "seq": event.seq,
            "state": DeliveryState.PENDING,
            "tries": 0,
            "next_try_at": min(event.at, now),  # it may have happened while the clock was ahead
            "created_at": event.at,
        }
        for event in session.execute(said)
        for listener in listeners
        if listener.joined <= taken[event.job_id, event.seq]
        and wants(listener.words, event.type, event.data)
        and _has_label(event.labels, listener.label)
    ]
    if rows:
        session.execute(insert(Delivery), rows)
    here = tuple_(OutboxEntry.job_id, OutboxEntry.seq)
    session.execute(delete(OutboxEntry).where(here.in_(list(taken))), execution_options={"synchronize_session": False})
    return True


def _listeners(session: Session) -> list[_Listener]:
    """The enabled webhooks. Locked, so that each stays as it is until we commit: see `subscriptions.disable`."""
    enabled = (
        select(Webhook.id, Webhook.events, Webhook.label, Webhook.joined)
        .where(Webhook.disabled_at.is_(None))
        .order_by(Webhook.id)
        .with_for_update(read=True)
    )
    return [_Listener(*row) for row in session.execute(enabled)]


def _has_label(labels: Mapping[str, str], label: str | None) -> bool:
    """As `jobs.queue.find.has_label`, for one job."""
    if label is None:
        return True
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)
