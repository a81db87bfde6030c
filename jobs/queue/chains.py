"""Chains: a job whose teacher is still to come waits for the job that will have it, and then goes on or ends.

A job with a committee waits for one of those that lend to it at a time, until all have come.

What a job waits for is a column, so that a claim passes by it without a look at the other job. That column says nothing
that the other job's row and files do not say: whoever settles reads those, at any time and as often as they like, and
nobody who ends a job has to think of those that wait for it. (No chain is a circle: a job names only older ones.)
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, get_args

from sqlalchemy import ColumnElement, Select, exists, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from jobs import endings
from jobs.database import clock
from jobs.endings import Ending
from jobs.errors import NoTeacher, NoTeacherYet
from jobs.log import events
from jobs.queue.attempts import state_event
from jobs.states import FINAL, State
from jobs.tables import File, FileKind, Job
from jobs.teachers import lending
from kd.outputs import weights_of
from kd.spec.brought import Role

WEIGHTS = [weights_of(role) for role in get_args(Role) if role != "student"]
"""What a job that has come to a teacher has among its files."""


@dataclass(frozen=True)
class Settled:
    """Jobs that wait for no other job any more."""

    freed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def has_its_teacher(job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition under which a queued job may be claimed: it trains its teacher itself, or that is there."""
    return job.waits_for_job_id.is_(None)


def is_due(session: Session) -> bool:
    """Whether something may have come of the jobs that others wait for; it asks without a lock."""
    return session.execute(_whose_time_may_have_come(Job.id).limit(1)).first() is not None


def settle(session: Session, now: datetime | None = None) -> Settled:
    """Let go on whoever waits for a teacher that has come, and end whoever waits for one that will not.

    Who waits in turn for a job that ends here is ended the next time.
    """
    found = _whose_time_may_have_come(Job.id, Job.resolved_spec, Job.max_queue_seconds, Job.waits_for_job_id)
    # Two that settle share the work; and a job that somebody cancels at this moment is left to them.
    rows = session.execute(found.with_for_update(skip_locked=True, of=Job)).all()
    waiting = defaultdict(list)
    for row in rows:
        waiting[tuple(lending.borrowed(row.resolved_spec).values())].append(row)
    settled, at = Settled(), now or clock.read(session)
    for teachers, rows in waiting.items():
        try:
            lending.check_again(session, teachers)
        except NoTeacherYet as error:
            # Of a committee one is there, and the next one to be waited for may be another job's.
            changes = [
                {"id": row.id, "waits_for_job_id": error.job_id} for row in rows if row.waits_for_job_id != error.job_id
            ]
            if changes:
                session.execute(update(Job), changes)
            continue
        except NoTeacher as error:
            _end(session, ids := [row.id for row in rows], endings.teacher_never_came(error), now)
            settled.ended.extend(ids)
        else:
            # Their time in the queue begins now.
            changes = [
                {"id": row.id, "waits_for_job_id": None, "start_by": _after(at, row.max_queue_seconds)} for row in rows
            ]
            session.execute(update(Job), changes)
            settled.freed.extend(row.id for row in rows)
    return settled


def _whose_time_may_have_come(*columns: InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    other = aliased(Job)
    has_one = exists().where(File.job_id == other.id, File.kind == FileKind.ARTIFACT, File.name.in_(WEIGHTS))
    return (
        select(*columns)
        .outerjoin(other, other.id == Job.waits_for_job_id)
        .where(Job.state == State.QUEUED, ~has_its_teacher())
        .where(or_(other.id.is_(None), other.state.in_(FINAL), has_one))
        .order_by(Job.id)
    )


def _end(session: Session, job_ids: Collection[str], ending: Ending, now: datetime | None) -> None:
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(job_ids))
        .values(
            state=State.FAILED,
            error=ending.stored(),
            finished_at=clock.now_or(now),
            updated_at=clock.now_or(now),
            events_seq=Job.events_seq + 1,
        )
        .returning(*events.COLUMNS, Job.state, Job.error)
        .execution_options(synchronize_session=False)
    ).all()
    events.append_each(session, [(row, [state_event(row)]) for row in rows])


def _after(at: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else at + timedelta(seconds=seconds)
