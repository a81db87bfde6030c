"""One job: read it, lock it, keep it from being deleted."""

from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from jobs import ids
from jobs.envelope import Envelope, Limits
from jobs.errors import JobNotFound
from jobs.tables import Job

# Built once: that takes longer than to ask.
_ONE = select(Job).where(Job.id == bindparam("job_id")).execution_options(populate_existing=True)


def get_job(session: Session, job_id: str) -> Job:
    job = session.execute(_ONE, {"job_id": job_id}).scalar_one_or_none() if ids.is_id("job", job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def lock_job(session: Session, job_id: str) -> None:
    """Let nobody else change the job until the transaction ends. (On SQLite its `BEGIN IMMEDIATE` has done that.)"""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())


def keep_job(session: Session, job_id: str) -> None:
    """Let nobody delete the job until the transaction ends, which is about to make another row name it."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(read=True, key_share=True))


def columns_of(envelope: Envelope) -> dict[str, Any]:
    """An envelope as a job's columns."""
    columns = envelope.model_dump(exclude={"limits"})
    return columns | envelope.limits.model_dump()


def envelope_of(job: Job) -> Envelope:
    """The envelope in a job's columns. Not validated: an earlier version may have allowed more."""
    limits = Limits.model_construct(**{name: getattr(job, name) for name in Limits.model_fields})
    others = {name: getattr(job, name) for name in Envelope.model_fields if name != "limits"}
    return Envelope.model_construct(**others, limits=limits)
