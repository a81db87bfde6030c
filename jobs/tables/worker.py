"""Who is there to work."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base


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
