"""Webhooks: who wants to hear of which events, and what became of it.

A pending delivery belongs to an enabled webhook: whoever disables one fails its pending deliveries, under a lock that
whoever adds a delivery takes too. `fan_out.py` adds them, `deliveries.py` sends them.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from jobs import ids, pages
from jobs.database import clock, storable
from jobs.errors import DeliveryNotFound, JobError, WebhookNotFound
from jobs.log.events import EVENTS
from jobs.log.outbox import forget_listeners
from jobs.pages import Page
from jobs.tables import Delivery, DeliveryState, OutboxEntry, Webhook

MOST = 100
"""Every event is held against every webhook."""


class UnknownEvent(JobError, ValueError):
    def __init__(self, word: str):
        nearest = get_close_matches(word[:100], EVENTS, n=3)
        instead = f"the nearest are {', '.join(nearest)}" if nearest else f"there are {', '.join(EVENTS)}"
        super().__init__(f"there is no event {word[:100]!r}; {instead}")


class TooManyWebhooks(JobError):
    def __init__(self) -> None:
        super().__init__(f"There are {MOST} webhooks, which is all that there may be; delete one first.")


class WebhookDisabled(JobError):
    def __init__(self, webhook_id: str):
        super().__init__(f"Webhook {webhook_id} is disabled; enable it first.")


def add(
    session: Session, url: str, events: Sequence[str] = (), label: str | None = None, now: datetime | None = None
) -> tuple[Webhook, str]:
    """The webhook and the secret that signs what it is sent: tell it to the caller, and never again."""
    for word in events:
        refuse_unknown(word)
    for field, value in (("url", url), ("label", label)):
        storable.refuse(value, field)
    if session.execute(select(func.count()).select_from(Webhook)).scalar_one() >= MOST:
        raise TooManyWebhooks
    at = now or clock.read(session)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    webhook = Webhook(
        id=ids.new("hook", at),
        url=url,
        secret=secret,
        events=list(dict.fromkeys(events)),
        label=label,
        created_at=at,
        joined=_joins(session),
    )
    session.add(webhook)
    try:
        session.flush()
    except StatementError as error:
        error.hide_parameters = True  # the secret is one of them, and errors are logged
        raise
    forget_listeners(session)
    return webhook, secret


def refuse_unknown(word: str) -> None:
    if word not in EVENTS:
        raise UnknownEvent(word)


def get(session: Session, webhook_id: str) -> Webhook:
    webhook = session.get(Webhook, webhook_id, populate_existing=True) if ids.is_id("hook", webhook_id) else None
    if webhook is None:
        raise WebhookNotFound(webhook_id)
    return webhook


def page(session: Session, *, limit: int = 20, after: str | None = None) -> Page[Webhook]:
    """Newest first. `after` is the id of the last one seen."""
    found = pages.newest_first(select(Webhook), Webhook.id, limit=limit, after=after)
    return pages.read(session, found, limit, lambda webhook: webhook.id)


def remove(session: Session, webhook_id: str) -> None:
    """Forget a webhook; its deliveries are out of sight with it. What is being sent at this moment may still arrive."""
    get(session, webhook_id)
    session.execute(delete(Webhook).where(Webhook.id == webhook_id).execution_options(synchronize_session=False))
    forget_listeners(session)


def enable(session: Session, webhook_id: str) -> Webhook:
    """Let a disabled webhook hear again, of what happens from now on."""
    get(session, webhook_id)
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id, Webhook.disabled_at.is_not(None))
        .values(disabled_at=None, joined=_joins(session))
        .execution_options(synchronize_session=False)
    )
    forget_listeners(session)
    return get(session, webhook_id)


def _joins(session: Session) -> int:
    """A number above those of all that heard of what waits in the outbox, also of those that are gone."""
    highest = (session.execute(select(func.max(table.joined))).scalar_one() for table in (Webhook, OutboxEntry))
    return 1 + max(number or 0 for number in highest)


def lock(session: Session, webhook_id: str) -> None:
    """Wait until nobody adds a delivery, and let nobody add one before the transaction ends."""
    session.execute(select(Webhook.id).where(Webhook.id == webhook_id).with_for_update())


def disable(session: Session, webhook_id: str, reason: str, now: datetime | None = None) -> None:
    """Send it nothing more; what waits to be sent has failed for this reason."""
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None))
        .values(disabled_at=clock.now_or(now))
        .execution_options(synchronize_session=False)
    )
    # A statement of its own, after the lock: it sees what others have added while we waited for it.
    session.execute(
        update(Delivery)
        .where(Delivery.webhook_id == webhook_id, Delivery.state == DeliveryState.PENDING)
        .values(state=DeliveryState.FAILED, last_error=reason)
        .execution_options(synchronize_session=False)
    )
    forget_listeners(session)


def deliveries(
    session: Session,
    webhook_id: str,
    *,
    state: DeliveryState | None = None,
    limit: int = 20,
    after: str | None = None,
) -> Page[Delivery]:
    """The delivery log, newest first. `after` is the id of the last one seen."""
    get(session, webhook_id)
    found = select(Delivery).where(Delivery.webhook_id == webhook_id)
    if state is not None:
        found = found.where(Delivery.state == state)
    found = pages.newest_first(found, Delivery.id, limit=limit, after=after)
    return pages.read(session, found, limit, lambda delivery: delivery.id)


def redeliver(
    session: Session, webhook_id: str, delivery_id: str, now: datetime | None = None
) -> tuple[Delivery, bool]:
    """Send a delivered or failed delivery once more, under its old id. False if it waits to be sent anyway."""
    get(session, webhook_id)
    enabled = select(Webhook.id).where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None))
    if session.execute(enabled.with_for_update(read=True)).scalar_one_or_none() is None:
        raise WebhookDisabled(webhook_id)
    again = {
        "state": DeliveryState.PENDING,
        "tries": 0,
        "next_try_at": clock.now_or(now),
        "last_status": None,
        "last_error": None,
        "delivered_at": None,
    }
    changed = session.execute(
        update(Delivery)
        .where(*_one(webhook_id, delivery_id), Delivery.state != DeliveryState.PENDING)
        .values(**again)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    found = select(Delivery).where(*_one(webhook_id, delivery_id))
    row = session.execute(found, execution_options={"populate_existing": True}).scalar_one_or_none()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    return row, changed is not None


def _one(webhook_id: str, delivery_id: str) -> tuple[Any, ...]:
    if not ids.is_id("dlv", delivery_id):
        raise DeliveryNotFound(delivery_id)
    return Delivery.id == delivery_id, Delivery.webhook_id == webhook_id
