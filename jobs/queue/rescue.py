"""Ends leases that expired, and waits that lasted too long. Idempotent: any process may do it at any time."""

from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, aliased

from jobs import endings
from jobs.database import clock
from jobs.log import events
from jobs.queue import chains
from jobs.queue.attempts import give_up, state_event
from jobs.states import State
from jobs.tables import Job

# As long as settings allow. A lease that lasts longer was given before the clock was set back: whoever lives renews it
# within a heartbeat, and of the dead it would be the end of their jobs for as long as the clock was wrong.
LONGEST_LEASE = timedelta(hours=1)


def rescue_expired(session: Session, *, max_stalls: int, now: datetime | None = None) -> list[tuple[str, State]]:
    """Take every job whose lease ran out from its silent worker."""
    late = aliased(Job)
    at, beyond = clock.to_compare(now), clock.to_compare(now, LONGEST_LEASE)
    expired = (
        select(late.id)
        .where(late.state == State.RUNNING, or_(late.lease_expires_at < at, late.lease_expires_at > beyond))
        .with_for_update(skip_locked=True)  # two rescuers share the work
    )
    rows = session.execute(
        update(Job)
        .where(
            Job.id.in_(expired),
            Job.state == State.RUNNING,
            or_(Job.lease_expires_at < at, Job.lease_expires_at > beyond),
        )
        .values(**give_up(max_stalls, endings.worker_lost(max_stalls), clock.now_or(now)))
        .returning(*events.COLUMNS, Job.state, Job.error)
        .execution_options(synchronize_session=False)
    ).all()
    events.append_each(session, [(row, [state_event(row, reason="lease_expired")]) for row in rows])
    return [(row.id, State(row.state)) for row in rows]


def expire_waiting(session: Session, *, now: datetime | None = None) -> list[str]:
    """Fail every job that has waited longer than it may for its first start. Of one whose teacher is still to come the
    time has not begun."""
    late = aliased(Job)
    at = clock.to_compare(now)
    expired = (
        select(late.id)
        .where(late.state == State.QUEUED, late.started_at.is_(None), late.start_by < at, chains.has_its_teacher(late))
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(expired), Job.state == State.QUEUED, Job.start_by < at)
        .values(
            state=State.FAILED,
            error=endings.queue_time_exceeded().stored(),
            finished_at=clock.now_or(now),
            updated_at=clock.now_or(now),
            events_seq=Job.events_seq + 1,
        )
        .returning(*events.COLUMNS, Job.state, Job.error)
        .execution_options(synchronize_session=False)
    ).all()
    events.append_each(session, [(row, [state_event(row)]) for row in rows])
    return [row.id for row in rows]
