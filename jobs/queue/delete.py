"""Forget jobs that have ended."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, ColumnElement, String, any_, delete, literal, or_, select, update
from sqlalchemy.orm import Session

from jobs.database import clock
from jobs.database.engine import allow_long_statements
from jobs.errors import InUse, NotAllowed
from jobs.job import get_job, lock_job
from jobs.log import purge
from jobs.states import ACTIONS, FINAL
from jobs.tables import Job
from jobs.teachers import lending


def delete_job(session: Session, job_id: str, now: datetime | None = None) -> None:
    """Forget a job that has ended, and everything about it; its folder goes after the commit (`store.delete_jobs`).

    Raises `NotAllowed` while it has not ended, and `InUse` while it lends a model.
    """
    lock_job(session, job_id)
    job = get_job(session, job_id)
    if job.state not in FINAL:
        raise NotAllowed(job_id, job.state, "delete", ACTIONS[job.state])
    if found := lending.borrowers(session, job_id, limit=5):
        raise InUse(job_id, found)
    delete_all(session, [Job.id == job_id], now)


def delete_all(session: Session, matching: Sequence[ColumnElement[bool]], now: datetime | None = None) -> list[str]:
    """Forget every job that matches, has ended and lends no model to one that has not. Returns their ids.

    What they have said is out of sight with them, and is deleted by and by (`jobs.log.purge`).
    """
    lends = lending.lends(Job)
    meant = (*matching, Job.state.in_(FINAL))
    if session.get_bind().dialect.name == "postgresql":
        allow_long_statements(session.connection())  # what belongs to many jobs takes its time
        # Who is about to borrow a teacher keeps its job: wait for them here, so that the next statement sees the
        # borrower. It deletes none but those that we waited for.
        ours = session.execute(select(Job.id).where(*meant).order_by(Job.id)).scalars().all()
        # Their retries are changed too. Locked in one order, so that two at the same moment do not deadlock.
        theirs = literal(ours, ARRAY(String))
        touched = or_(Job.id == any_(theirs), Job.parent_job_id == any_(theirs))
        session.execute(select(Job.id).where(touched).order_by(Job.id).with_for_update())
        meant = (*meant, Job.id == any_(theirs))
    # The database would set it to null as well, but nobody who waits for a change of the retry would notice.
    parents = select(Job.id).where(*meant, ~lends).correlate(None)
    session.execute(
        update(Job)
        .where(Job.parent_job_id.in_(parents))
        .values(parent_job_id=None, updated_at=clock.now_or(now))
        .execution_options(synchronize_session=False)
    )
    deleted = session.execute(
        delete(Job).where(*meant, ~lends).returning(Job.id).execution_options(synchronize_session=False)
    )
    gone = list(deleted.scalars())
    purge.note(session, gone)
    return gone
