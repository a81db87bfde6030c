"""The tables. Only rows are described here; what may happen to them is in leases.py and store.py."""

import math
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine

from jobs.clock import UtcDateTime
from jobs.states import State


class _SqliteReal(Double[float]):
    """A REAL column of SQLite, which turns a NaN into NULL but keeps any text that is no number: 'NaN'."""

    def bind_processor(self, dialect: Dialect) -> Any:
        return lambda value: "NaN" if value is not None and math.isnan(value) else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return lambda value: None if value is None else float(value)


class Measured(TypeDecorator[float]):
    """A float that may be NaN or infinite, on both databases."""

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_SqliteReal() if dialect.name == "sqlite" else Double())


class FileKind(StrEnum):
    STUDENT = "student"
    """The weights of a checkpoint: what users download."""

    RESUME = "resume"
    """What training goes on from; nobody's business but the worker's."""

    ARTIFACT = "artifact"
    """The report, the teacher, exports: what a run leaves behind."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after the last try."""


def _words(enum: type[StrEnum], length: int) -> Enum:
    """The enum's values as plain text: a new member needs no migration."""
    return Enum(enum, native_enum=False, length=length, values_callable=lambda kind: [str(member) for member in kind])


class Base(DeclarativeBase):
    # SQLite changes a constraint by copying its table, and finds it by its name.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        dict[str, str]: JSON(none_as_null=True),
        dict[str, float | str]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        str: Text(),
    }


class Job(Base):
    """One run that somebody asked for, from the request to its result."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(30), primary_key=True)
    mode: Mapped[str] = mapped_column(String(16))
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

    state: Mapped[State] = mapped_column(_words(State, 16), default=State.QUEUED)
    phase: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    latest_metrics: Mapped[dict[str, float | str]] = mapped_column(default=dict)
    """The newest value of each; NaN and infinities as strings."""
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]

    attempt: Mapped[int] = mapped_column(default=0)
    """Counts claims; together with lease_owner it is the fence."""
    messages: Mapped[int] = mapped_column(default=0)
    """How many of the messages that the attempt's trainer has sent are written down."""
    stalls: Mapped[int] = mapped_column(default=0)
    """Attempts in a row that made no new checkpoint."""
    checkpoint_step: Mapped[int] = mapped_column(BigInteger, default=-1)
    run_seconds: Mapped[float] = mapped_column(Double, default=0.0)
    """How long trainers have worked on it, over all attempts."""
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
        # With what they need at the end: a worker that none of them suits is told so by the index alone.
        Index("jobs_to_claim", "state", priority.desc(), "created_at", "id", "needs_gpus", "needs_memory_bytes"),
        Index("jobs_to_rescue", "state", "lease_expires_at"),
        Index("jobs_to_expire", "state", "start_by"),
        Index("jobs_by_state", "state", "id"),
        Index("jobs_by_mode", "mode", "id"),
        Index("jobs_by_parent", "parent_job_id"),
        Index("jobs_by_teacher", "teacher_job_id"),
        Index("jobs_by_idempotency_key", "idempotency_key", unique=True),
    )


class Event(Base):
    """Something that happened to a job; `seq` counts 1, 2, 3 … without a gap.

    No foreign key: after its job it is a leftover for a while. (Every writer holds the job's row.)
    """

    __tablename__ = "events"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    job_id: Mapped[str] = mapped_column(String(30), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    attempt: Mapped[int]
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class MetricPoint(Base):
    """One value of one curve. Like an event it may outlive its job for a while."""

    __tablename__ = "metric_points"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    job_id: Mapped[str] = mapped_column(String(30), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float] = mapped_column(Measured)
    at: Mapped[datetime]


class Leftover(Base):
    """A job that was deleted, and whose events and curves are still to be."""

    __tablename__ = "leftovers"

    job_id: Mapped[str] = mapped_column(String(30), primary_key=True)


class Checkpoint(Base):
    """A moment of a run of which files are kept."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("checkpoints_by_job", "job_id", "attempt", "step"),)

    id: Mapped[str] = mapped_column(String(31), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    phase: Mapped[str] = mapped_column(String(32))
    step: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]
    best: Mapped[bool]
    pinned: Mapped[bool] = mapped_column(default=False)
    """Kept because a user said so."""
    metrics: Mapped[dict[str, float | str]]
    created_at: Mapped[datetime]

    files: Mapped[list["File"]] = relationship(lazy="selectin", viewonly=True)

    @property
    def student(self) -> "File | None":
        """The weights to download, if this checkpoint has any."""
        return next((file for file in self.files if file.kind is FileKind.STUDENT), None)


class File(Base):
    """A file that is complete on disk: the row is written after it."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(31), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"))
    kind: Mapped[FileKind] = mapped_column(_words(FileKind, 16))
    name: Mapped[str] = mapped_column(String(200))
    path: Mapped[str]
    """Relative to the data folder; made by the server."""
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]

    __table_args__ = (
        Index("files_by_job", "job_id", "kind"),
        Index("files_by_checkpoint", "checkpoint_id"),
        Index(
            "artifacts_by_name",
            "job_id",
            "name",
            unique=True,
            sqlite_where=text("kind = 'artifact'"),
            postgresql_where=text("kind = 'artifact'"),
        ),
    )


class Worker(Base):
    """A worker process, as it last described itself. What it works on is the job whose lease it holds."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    gpus: Mapped[int]
    gpu_names: Mapped[list[str]]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    trouble: Mapped[str | None]
    """Why it takes no job at the moment, in a sentence: a full disk, say."""
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    drain_requested_at: Mapped[datetime | None]

    __table_args__ = (Index("workers_by_heartbeat", "heartbeat_at"),)


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


class Delivery(Base):
    """An event on its way to a webhook; written in the transaction that wrote the event."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(31), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    seq: Mapped[int]
    """Of the event."""
    state: Mapped[DeliveryState] = mapped_column(_words(DeliveryState, 16), default=DeliveryState.PENDING)
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
