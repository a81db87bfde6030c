"""What jobs have said: events and curves."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base, Measured


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
