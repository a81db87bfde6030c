"""A claim of one job in particular, which workers have no need for."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs.queue import leases
from jobs.queue.fence import Claim
from jobs.tables import Job


def claim_job(session: Session, job_id: str, **how: Any) -> Claim:
    """Claim this job, whatever is before it in the queue: nobody sees that it is the first for a moment."""
    job = Job.id == job_id
    priority, created_at = session.execute(select(Job.priority, Job.created_at).where(job)).one()
    session.execute(update(Job).where(job).values(priority=100, created_at=datetime(2000, 1, 1, tzinfo=UTC)))
    claim = leases.claim(session, **how)
    session.execute(update(Job).where(job).values(priority=priority, created_at=created_at))
    assert claim is not None
    assert claim.job_id == job_id, "it does not wait"
    return claim
