"""Deliveries on their way: leased by one sender at a time, tried again with a back-off, given up after the last try.

A sender that took one holds it until `next_try_at`; when it is dead, another one takes it then. So receivers may see
a delivery twice, under the same id, but never miss one.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from jobs.database import clock
from jobs.tables import Delivery, DeliveryState, Event, Job, OutboxEntry, Webhook
from jobs.webhooks import subscriptions

LEASE = timedelta(seconds=60)
"""Longer than a try can take, a slow look-up of the host's name included."""

DELAYS = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5)),
    *(timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24)),
)
"""The back-off before the second try, the third …, as the Standard Webhooks specification proposes it."""

JITTER = 0.1
"""At most this share of itself is added to a delay: what failed together does not come back together."""

GONE = 410

KEPT = timedelta(days=30)
"""How long the log keeps a delivery that is over."""

TOGETHER = 1_000
"""Rows in one statement: more would hold up the other writers of SQLite."""

ORPHANS_TOGETHER = 20
"""Deliveries of jobs and webhooks that are gone which one claim puts aside."""


@dataclass(frozen=True)
class Claim:
    """A delivery, and the right to send it until `until`."""

    id: str
    webhook_id: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    at: datetime
    """When it was taken, by the database's clock."""
    until: datetime
    tries: int
    """This one included."""
    job_id: str
    job_name: str | None
    labels: Mapping[str, str]
    event: Event


def forget_old(session: Session, now: datetime | None = None) -> int:
    """Drop deliveries that were over long ago from the log, at most `TOGETHER`. Returns how many."""
    old = aliased(Delivery)
    oldest = (
        select(old.id)
        .where(old.state != DeliveryState.PENDING, old.created_at < clock.after(-KEPT, now))
        .order_by(old.created_at)
        .limit(TOGETHER)
    )
    # Asked once more: one of them may be sent anew at this very moment.
    over = (Delivery.id.in_(oldest), Delivery.state != DeliveryState.PENDING)
    gone = session.execute(delete(Delivery).where(*over).execution_options(synchronize_session=False))
    return gone.rowcount  # type: ignore[attr-defined, no-any-return]


def forget_clock_ahead(session: Session, now: datetime | None = None) -> int:
    """The clock was set back: what should be tried later than it could be by a clock that was right is due now. Returns
    how many those are. (Whoever is sending one of them cannot note the outcome: it is sent again.)"""
    longest = case(
        (Delivery.last_error.is_(None), clock.after(LEASE, now)),  # untried, or on its way
        *((Delivery.tries == tries, clock.after(delay * (1 + JITTER), now)) for tries, delay in enumerate(DELAYS, 1)),
        else_=clock.after(DELAYS[-1] * (1 + JITTER), now),
    )
    ahead = session.execute(
        update(Delivery)
        .where(
            Delivery.state == DeliveryState.PENDING,
            Delivery.next_try_at > clock.to_compare(now),
            Delivery.next_try_at > longest,
        )
        .values(next_try_at=clock.now_or(now))
        .execution_options(synchronize_session=False)
    )
    return ahead.rowcount  # type: ignore[attr-defined, no-any-return]


def is_due(session: Session, *, without: Collection[str] = (), now: datetime | None = None) -> bool:
    """Whether `claim` would find something; it asks without the lock that every `begin()` takes on SQLite."""
    return session.execute(_first_due(without, now)).scalar_one_or_none() is not None


def claim(
    session: Session, *, lease: timedelta = LEASE, without: Collection[str] = (), now: datetime | None = None
) -> Claim | None:
    """Take the delivery that has been due for longest, except of these webhooks; None if there is none.

    Those that can never be sent, for their job or their webhook is gone, are given up on the way.
    """
    for _ in range(ORPHANS_TOGETHER):
        first = _first_due(without, now).with_for_update(skip_locked=True).scalar_subquery()
        taken = session.execute(
            update(Delivery)
            .where(Delivery.id == first, Delivery.state == DeliveryState.PENDING)
            .values(tries=Delivery.tries + 1, next_try_at=clock.after(lease, now))
            .returning(
                Delivery.id, Delivery.webhook_id, Delivery.job_id, Delivery.seq, Delivery.tries, Delivery.next_try_at
            )
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if taken is None:
            return None
        said = (
            select(Webhook.url, Webhook.secret, Job.name, Job.labels, Event)
            .select_from(Webhook)
            .join(Job, Job.id == taken.job_id)
            .join(Event, (Event.job_id == Job.id) & (Event.seq == taken.seq))
            .where(Webhook.id == taken.webhook_id)
        )
        found = session.execute(said).one_or_none()
        if found is None:
            _give_up_orphans(session, taken)
            continue
        url, secret, name, labels, event = found
        return Claim(
            taken.id,
            taken.webhook_id,
            url,
            secret,
            at=taken.next_try_at - lease,
            until=taken.next_try_at,
            tries=taken.tries,
            job_id=taken.job_id,
            job_name=name,
            labels=labels,
            event=event,
        )
    return None


def _give_up_orphans(session: Session, taken: Any) -> None:
    """Give up a delivery, and what else waits of its webhook, if that is gone, or else of its job: `TOGETHER` or so."""
    webhook_is_there = session.execute(select(Webhook.id).where(Webhook.id == taken.webhook_id)).first()
    theirs = Delivery.job_id == taken.job_id if webhook_is_there else Delivery.webhook_id == taken.webhook_id
    orphans = select(Delivery.id).where(theirs, Delivery.state == DeliveryState.PENDING).limit(TOGETHER)
    session.execute(
        update(Delivery)
        .where(or_(Delivery.id == taken.id, Delivery.id.in_(orphans)), Delivery.state == DeliveryState.PENDING)
        .values(state=DeliveryState.FAILED, last_error="The job was deleted before this was delivered.")
        .execution_options(synchronize_session=False)
    )


def _first_due(without: Collection[str], now: datetime | None) -> Select[str]:
    """In the order of seq for one webhook and job: an earlier event's first try must have ended.

    One that has failed does not hold up the others: it may be a day before it succeeds. One that is not even written
    yet, in the hands of another sender that fans out, does.
    """
    due, earlier = aliased(Delivery), aliased(Delivery)
    told_of = ~exists().where(OutboxEntry.job_id == due.job_id, OutboxEntry.seq < due.seq)
    untried = exists().where(
        earlier.job_id == due.job_id,
        earlier.webhook_id == due.webhook_id,
        earlier.seq < due.seq,
        earlier.state == DeliveryState.PENDING,
        earlier.last_error.is_(None),
    )
    found = select(due.id).where(
        due.state == DeliveryState.PENDING,
        due.next_try_at <= clock.to_compare(now),
        or_(due.last_error.is_not(None), told_of & ~untried),
    )
    if without:
        found = found.where(due.webhook_id.not_in(without))
    return found.order_by(due.next_try_at, due.id).limit(1)


def succeed(session: Session, claim: Claim, status: int, now: datetime | None = None) -> bool:
    """It has arrived. False if the claim had lapsed, and another sender has the last word."""
    at = clock.now_or(now)
    values = {"state": DeliveryState.DELIVERED, "last_status": status, "last_error": None, "delivered_at": at}
    return _settle(session, claim, values)


def fail(session: Session, claim: Claim, error: str, status: int | None = None, now: datetime | None = None) -> bool:
    """It has not; it is tried again later unless this was the last try. A receiver that is gone is left alone.

    False if the claim had lapsed.
    """
    values: dict[str, Any] = {"last_status": status, "last_error": error}
    if status == GONE:
        # In this order, as everywhere: first the webhook's lock, then its deliveries'.
        subscriptions.lock(session, claim.webhook_id)
        settled = _settle(session, claim, values | {"state": DeliveryState.FAILED})
        if settled:
            reason = "The receiver has answered 410 Gone to another delivery, so the webhook was disabled."
            subscriptions.disable(session, claim.webhook_id, reason, now)
        return settled
    if claim.tries > len(DELAYS):
        return _settle(session, claim, values | {"state": DeliveryState.FAILED})
    delay = DELAYS[claim.tries - 1] * (1 + JITTER * random.random())
    return _settle(session, claim, values | {"next_try_at": clock.after(delay, now)})


def _settle(session: Session, claim: Claim, values: Mapping[str, Any]) -> bool:
    settled = session.execute(
        update(Delivery)
        .where(*_fence(claim))
        .values(**values)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return settled.scalar_one_or_none() is not None


def _fence(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """`until` is no one else's: a later claim of the delivery ends later."""
    return Delivery.id == claim.id, Delivery.state == DeliveryState.PENDING, Delivery.next_try_at == claim.until
