"""What deleted jobs have said, deleted afterwards and bit by bit: their events and curves may be millions of rows.

The transaction that deletes jobs only notes them here. Nobody sees their rows any more, since every look at a job's
log or curves begins with the job, and no id is given twice.
"""

import threading
import time
from collections.abc import Collection

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs.database.engine import Sessions
from jobs.pace import rest
from jobs.tables import Event, Leftover, MetricPoint

ROWS = 2_000
TURN_SECONDS = 0.1
"""About how long a turn holds SQLite's write lock."""


def note(session: Session, job_ids: Collection[str]) -> None:
    """These jobs are deleted in this transaction."""
    if job_ids:
        session.execute(insert(Leftover), [{"job_id": job_id} for job_id in job_ids])


def purge(db: Sessions, stop: threading.Event | None = None) -> int:
    """Delete what deleted jobs have left; with `stop` without haste, and only until that is set. Returns how many jobs'
    last rows went."""
    jobs = 0
    while True:
        began = time.monotonic()
        with db.read() as session:
            if session.execute(select(Leftover).limit(1)).first() is None:
                return jobs
        with db.begin() as session:
            cleared = _take_a_turn(session)
        if cleared is None:  # another process has the rest in its hands
            return jobs
        jobs += cleared
        if rest(stop, began):
            return jobs


def _take_a_turn(session: Session) -> int | None:
    """Delete for a moment. Returns of how many jobs nothing is left; None if there was nothing to be had."""
    give_up, cleared, found = time.monotonic() + TURN_SECONDS, 0, False
    while not found or time.monotonic() < give_up:  # some at least, however busy the machine is
        first = select(Leftover.job_id).order_by(Leftover.job_id).limit(1).with_for_update(skip_locked=True)
        job_id = session.execute(first).scalar_one_or_none()
        if job_id is None:
            break
        found = True
        if _delete_some(session, job_id, MetricPoint.job_id, (MetricPoint.name, MetricPoint.step)):
            continue
        if _delete_some(session, job_id, Event.job_id, (Event.seq,)):
            continue
        session.execute(delete(Leftover).where(Leftover.job_id == job_id))
        cleared += 1
    return cleared if found else None


def _delete_some(
    session: Session,
    job_id: str,
    owner: InstrumentedAttribute[str],
    key: tuple[InstrumentedAttribute[str] | InstrumentedAttribute[int], ...],
) -> bool:
    """Delete a job's first rows in the order of `key`. Whether there are more."""
    beyond = session.execute(select(*key).where(owner == job_id).order_by(*key).offset(ROWS).limit(1)).one_or_none()
    rows = delete(owner.class_).where(owner == job_id)
    if beyond is not None:
        rows = rows.where(tuple_(*key) < tuple_(*beyond))
    session.execute(rows, execution_options={"synchronize_session": False})
    return beyond is not None
