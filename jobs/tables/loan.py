"""What jobs borrow from one another."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Base


class Loan(Base):
    """One of several things that a job borrows, which stay while it has not ended: the jobs that lend its committee of
    teachers, or the label table that is its teacher. (The job that lends a single teacher is `Job.teacher_job_id`.)"""

    __tablename__ = "loans"
    __table_args__ = (Index("loans_by_what_they_lend", "lends"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    lends: Mapped[str] = mapped_column(String(32), primary_key=True)
    """The id of what is lent."""
