"""How far jobs are: enough to see that something has changed, in one small read for many of them."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.tables import Job


class Mark(NamedTuple):
    """Whatever changes a job changes its mark; only heartbeats do not."""

    events_seq: int
    updated_at: datetime


def of(job: Job) -> Mark:
    return Mark(job.events_seq, job.updated_at)


def read(session: Session, job_ids: Collection[str]) -> dict[str, Mark]:
    """The marks of these jobs; one that is gone has none."""
    found = session.execute(select(Job.id, Job.events_seq, Job.updated_at).where(Job.id.in_(job_ids)))
    return {job_id: Mark(events_seq, updated_at) for job_id, events_seq, updated_at in found}
