"""What jobs borrow from one another."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base


class Loan(Base):
    """Something that a job borrows, which stays while it has not ended: the jobs that lend its committee of teachers,
    or first weights; a label table, or a model, that somebody has brought. (The job that lends a single teacher is
    `Job.teacher_job_id`.)"""

    __tablename__ = "loans"
    __table_args__ = (Index("loans_by_what_they_lend", "lends"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    lends: Mapped[str] = mapped_column(String(32), primary_key=True)
    """The id of what is lent."""
