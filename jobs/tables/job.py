"""One run that somebody asked for."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.kinds import Kind
from jobs.states import State
from jobs.tables.base import Base, words

WAITS = text("waits_for_job_id IS NOT NULL")


class Job(Base):
    """One run that somebody asked for, from the request to its result."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(30), primary_key=True)
    mode: Mapped[str] = mapped_column(String(16))
    kind: Mapped[Kind] = mapped_column(words(Kind, 16), default=Kind.DISTILLATION)
    """That of its mode."""
    name: Mapped[str | None]
    labels: Mapped[dict[str, str]]
    spec: Mapped[dict[str, Any]]
    """As it was asked for."""
    resolved_spec: Mapped[dict[str, Any]]
    """With every default filled in: what runs."""
    priority: Mapped[int] = mapped_column(default=0)
    parent_job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    teacher_job_id: Mapped[str | None] = mapped_column(String(30))
    """The job that lends this one its teacher."""
    waits_for_job_id: Mapped[str | None] = mapped_column(String(30))
    """That job too, for as long as it is still to have the teacher."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    """Of the request that the key came with."""

    max_run_seconds: Mapped[float | None] = mapped_column(Double)
    max_queue_seconds: Mapped[float | None] = mapped_column(Double)
    max_stall_seconds: Mapped[float | None] = mapped_column(Double)
    keep_last: Mapped[int] = mapped_column(default=1)
    """How many of the newest students are kept, beside the best one and the pinned ones."""
    needs_gpus: Mapped[int] = mapped_column(default=0)
    needs_memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)

    state: Mapped[State] = mapped_column(words(State, 16), default=State.QUEUED)
    phase: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    latest_metrics: Mapped[dict[str, float | str]] = mapped_column(default=dict)
    """The newest value of each; NaN and infinities as strings."""
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    estimate: Mapped[dict[str, Any] | None]
    """What it was expected to take when it began; null: it has not begun, or that was unknown."""

    attempt: Mapped[int] = mapped_column(default=0)
    """Counts claims; together with lease_owner it is the fence."""
    messages: Mapped[int] = mapped_column(default=0)
    """How many of the messages that the attempt's trainer has sent are written down."""
    stalls: Mapped[int] = mapped_column(default=0)
    """Attempts in a row that made no progress: none that brought `safe_fraction` up."""
    retry_at: Mapped[datetime | None]
    """Of a queued job whose last attempt crashed without progress: when the next one may begin."""
    checkpoint_step: Mapped[int] = mapped_column(BigInteger, default=-1)
    safe_fraction: Mapped[float] = mapped_column(Double, default=-1.0)
    """The largest share of the run, in 0..1, that was ever safe in a checkpoint or in kept labels; -1: nothing yet, or
    it was lost."""
    run_seconds: Mapped[float] = mapped_column(Double, default=0.0)
    """How long trainers have worked on it, over all attempts."""
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    """What its logs take on disk: files that have no rows."""
    events_seq: Mapped[int] = mapped_column(default=0)
    """The number of the newest event."""
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]

    created_at: Mapped[datetime]
    start_by: Mapped[datetime | None]
    """When max_queue_seconds end; it counts until the job has started for the first time."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("priority BETWEEN -100 AND 100", name="priority_in_range"),
        # All that a claim, or a look at the whole line, asks of those that wait: the index alone tells it.
        Index(
            "jobs_to_claim",
            *("state", "kind", priority.desc(), "created_at", "id"),
            *("needs_gpus", "needs_memory_bytes", "retry_at", "waits_for_job_id"),
        ),
        Index("jobs_to_rescue", "state", "lease_expires_at"),
        Index("jobs_to_expire", "state", "start_by"),
        Index("jobs_by_log_bytes", "log_bytes"),  # for their sum, which would else read every row
        Index("jobs_by_state", "state", "kind", "id"),
        Index("jobs_by_mode", "mode", "id"),
        Index("jobs_by_parent", "parent_job_id"),
        Index("jobs_by_teacher", "teacher_job_id"),
        Index("jobs_that_wait", "waits_for_job_id", sqlite_where=WAITS, postgresql_where=WAITS),
        Index("jobs_by_idempotency_key", "idempotency_key", unique=True),
    )
