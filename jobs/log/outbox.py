"""The outbox that an event and its deliveries enter together."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, insert, literal, select
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock
from jobs.tables import Delivery, DeliveryState, Job, Webhook

AT_ONCE = 1_000
"""Databases bound the number of values in a statement."""


def enqueue(session: Session, changes: Sequence[tuple[Any, Sequence[Any]]]) -> None:
    """Called by `jobs.log.events` for the events of each row, which took the last numbers of its `events_seq`.

    A delivery for each webhook that wants one of them: it exists if and only if the event does.
    """
    listeners = _listeners(session)
    if not listeners:
        return
    wanted = [
        (webhook, row, seq)
        for row, events in changes
        for seq, event in enumerate(events, row.events_seq - len(events) + 1)
        for webhook in listeners
        if _wants(webhook.events, event.type, event.data)
    ]
    choosy = {row.id for webhook, row, _ in wanted if webhook.label is not None}
    labels = _labels(session, sorted(choosy))
    told = [
        {"delivery": ids.new("dlv", row.updated_at), "hook": webhook.id, "job": row.id, "number": seq}
        | {"moment": row.updated_at}
        for webhook, row, seq in wanted
        if _has_label(labels.get(row.id, {}), webhook.label)
    ]
    if told:
        session.execute(_ADD, told)


def _labels(session: Session, job_ids: Sequence[str]) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for first in range(0, len(job_ids), AT_ONCE):
        chunk = job_ids[first : first + AT_ONCE]
        found |= {row.id: row.labels for row in session.execute(select(Job.id, Job.labels).where(Job.id.in_(chunk)))}
    return found


# Nothing for a webhook that was deleted or disabled since we read it: that must not fail a job's write. The lock keeps
# it as it is until we commit.
_COLUMNS: dict[str, Any] = {
    "id": bindparam("delivery", type_=Delivery.__table__.c.id.type),
    "webhook_id": Webhook.id,
    "job_id": bindparam("job", type_=Delivery.__table__.c.job_id.type),
    "seq": bindparam("number", type_=Delivery.__table__.c.seq.type),
    "state": literal(DeliveryState.PENDING, Delivery.__table__.c.state.type),
    "tries": literal(0),
    "next_try_at": bindparam("moment", type_=clock.UtcDateTime()),
    "created_at": bindparam("moment", type_=clock.UtcDateTime()),
}
_ADD = insert(Delivery.__table__).from_select(  # type: ignore[arg-type]
    list(_COLUMNS),
    select(*_COLUMNS.values())
    .where(Webhook.id == bindparam("hook"), Webhook.disabled_at.is_(None))
    .with_for_update(read=True),
)

_KNOWN = "webhooks"


def _listeners(session: Session) -> Sequence[Row[Any]]:
    """The enabled webhooks: one SELECT a transaction, however many jobs it changes."""
    transaction, found = session.info.get(_KNOWN, (None, ()))
    if transaction is None or transaction is not session.get_transaction():
        enabled = select(Webhook.id, Webhook.events, Webhook.label).where(Webhook.disabled_at.is_(None))
        found = session.execute(enabled).all()
        session.info[_KNOWN] = (session.get_transaction(), found)
    return found  # type: ignore[no-any-return]


def forget_listeners(session: Session) -> None:
    session.info.pop(_KNOWN, None)


def word_for(type: str, data: Mapping[str, Any]) -> str:
    """The most specific word for an event: "state.succeeded", "checkpoint"."""
    return f"{type}.{data['state']}" if type == "state" else type


def _wants(words: Sequence[str], type: str, data: Mapping[str, Any]) -> bool:
    return type in (words or ("state",)) or word_for(type, data) in words


def _has_label(labels: Mapping[str, str], label: str | None) -> bool:
    """As `jobs.queue.find.has_label`, for one job."""
    if label is None:
        return True
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)
