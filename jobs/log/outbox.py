"""The outbox: events that webhooks want, written down in the transaction that made them true.

However many webhooks there are, an event costs that transaction one row at most. `jobs.webhooks.fan_out` makes the
deliveries of it afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from jobs.tables import OutboxEntry, Webhook


def enqueue(session: Session, changes: Sequence[tuple[Any, Sequence[Any]]]) -> None:
    """Called by `jobs.log.events` for the events of each row, which took the last numbers of its `events_seq`.

    An entry for each of them that some webhook may want: it exists if and only if the event does.
    """
    listeners = _listeners(session)
    if not listeners:
        return
    joined = max(listener.joined for listener in listeners)
    entries = [
        {"job_id": row.id, "seq": seq, "at": row.updated_at, "joined": joined}
        for row, events in changes
        for seq, event in enumerate(events, row.events_seq - len(events) + 1)
        if any(wants(listener.events, event.type, event.data) for listener in listeners)
    ]
    if entries:
        session.execute(insert(OutboxEntry), entries)


_KNOWN = "webhooks"


def _listeners(session: Session) -> Sequence[Row[tuple[list[str], int]]]:
    """What each enabled webhook asks for, and when it joined: one SELECT a transaction, whatever that changes."""
    transaction, found = session.info.get(_KNOWN, (None, ()))
    if transaction is None or transaction is not session.get_transaction():
        enabled = select(Webhook.events, Webhook.joined).where(Webhook.disabled_at.is_(None))
        found = session.execute(enabled).all()
        session.info[_KNOWN] = (session.get_transaction(), found)
    return found  # type: ignore[no-any-return]


def forget_listeners(session: Session) -> None:
    """Somebody has just become one, or is one no more."""
    session.info.pop(_KNOWN, None)


def word_for(type: str, data: Mapping[str, Any]) -> str:
    """The most specific word for an event: "state.succeeded", "checkpoint"."""
    return f"{type}.{data['state']}" if type == "state" else type


def wants(words: Sequence[str], type: str, data: Mapping[str, Any]) -> bool:
    """Whether somebody who asked for these words is meant; no word: every change of state."""
    return type in (words or ("state",)) or word_for(type, data) in words
