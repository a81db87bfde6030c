"""Who wants to hear of events, and what is on its way to them."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base, words


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after the last try."""


class Webhook(Base):
    """Somebody who wants to hear of events."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(31), primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    """Signs what is sent; shown once, to who made it."""
    events: Mapped[list[str]]
    """Types of events, or for changes of state "state.succeeded" and the like; none: every change of state."""
    label: Mapped[str | None]
    """Only jobs with this label: "key" or "key=value"."""
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    joined: Mapped[int] = mapped_column(default=0)
    """Rises with each that is made, or enabled again. No time could say who was there first: clocks are set back."""


class OutboxEntry(Base):
    """An event that some webhook wants, written in the event's transaction; its deliveries are written later."""

    __tablename__ = "outbox"

    job_id: Mapped[str] = mapped_column(String(30), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    """Of the event."""
    joined: Mapped[int] = mapped_column(default=0)
    """The highest number of the webhooks that were enabled by then: those above it came later."""

    __table_args__ = (Index("outbox_in_turn", "at", "job_id", "seq"), {"sqlite_with_rowid": False})


class Delivery(Base):
    """An event on its way to a webhook.

    No foreign keys: there may be thousands to a job and to a webhook, which would all go in the transaction that
    deletes it. What is left of them cannot be sent, and goes when it is old.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(31), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(String(31))
    job_id: Mapped[str] = mapped_column(String(30))
    seq: Mapped[int]
    """Of the event."""
    state: Mapped[DeliveryState] = mapped_column(words(DeliveryState, 16), default=DeliveryState.PENDING)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    """While somebody is sending it: when another one may, should they die."""
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        Index("deliveries_to_send", "state", "next_try_at", "id"),
        Index("deliveries_by_webhook", "webhook_id", "id"),
        Index("deliveries_by_age", "created_at"),
        Index("deliveries_by_job", "job_id", "webhook_id", "seq"),
    )
