"""What jobs leave behind: checkpoints and files."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from jobs.tables.base import Base, words


class FileKind(StrEnum):
    STUDENT = "student"
    """The weights of a checkpoint: what users download."""

    RESUME = "resume"
    """What training goes on from; nobody's business but the worker's."""

    ARTIFACT = "artifact"
    """The report, the teacher, exports: what a run leaves behind."""


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
    kind: Mapped[FileKind] = mapped_column(words(FileKind, 16))
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
