"""Many runs that somebody asked for at once, and which of them there are."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base, words


class SweepState(StrEnum):
    RUNNING = "running"
    """Members run, wait, or are still to be made."""

    PAUSED = "paused"
    """Somebody asked: its members are paused, and no more are made."""

    FINISHED = "finished"
    """Every member has ended, and there will be no more."""

    CANCELLED = "cancelled"
    """Somebody asked; members that ran may take a moment to end."""


class Sweep(Base):
    """Runs of one spec that differ in some of its fields."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str | None]
    plan: Mapped[dict[str, Any]]
    """What was asked for: see `jobs.sweeps.plan`."""
    planned: Mapped[int]
    """How many members there will be at most."""
    max_parallel: Mapped[int]
    """How many of them at a time that have not ended."""
    max_run_seconds: Mapped[float | None] = mapped_column(Double)
    """Of training, over all members; then no further one begins."""
    state: Mapped[SweepState] = mapped_column(words(SweepState, 16), default=SweepState.RUNNING)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("sweeps_by_state", "state", "id"),
        Index("sweeps_by_idempotency_key", "idempotency_key", unique=True),
    )


class Member(Base):
    """One of them. Its row outlives its job: a number is given once, whoever makes the member and however often they
    die over it."""

    __tablename__ = "sweep_members"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1."""
    job_id: Mapped[str | None] = mapped_column(String(30))
    """None: its point was refused."""
    point: Mapped[dict[str, Any]]
    """What it has of its own, by field."""
    refusal: Mapped[str | None]
    teacher_key: Mapped[str | None] = mapped_column(String(64))
    """Who has the same may have the same teacher."""
    leads: Mapped[bool]
    """Its job trains that teacher."""
    judged_epoch: Mapped[int] = mapped_column(default=0)
    """The last epoch at which somebody has looked whether it is worth to go on."""

    __table_args__ = (Index("sweep_members_by_job", "job_id"),)
