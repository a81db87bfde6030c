"""Back-off: a job whose attempt crashed without progress is not tried again at once.

What crashed it may pass by itself (a GPU in use, a disk that is away), and three attempts in a row would else be over
within a second. An attempt whose worker fell silent has no pause: its lease was one.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, null, or_

from jobs.database import clock
from jobs.tables import Job

# Each pause of a row is so many times the one before, up to the longest.
FACTOR = 6
LONGEST = timedelta(minutes=10)


def retry_at(first: timedelta, now: datetime | None) -> ColumnElement[datetime] | None:
    """When a job is tried again after as many stalls in a row as it has; `first` is the pause after the first of them.
    None: at once, whatever they are."""
    if not first:
        return None
    pauses = [first]
    while pauses[-1] < LONGEST:
        pauses.append(min(pauses[-1] * FACTOR, LONGEST))
    ends = [clock.after(pause, now) for pause in pauses]
    return case(
        (Job.stalls == 0, null()), *((Job.stalls == stalls, end) for stalls, end in enumerate(ends, 1)), else_=ends[-1]
    )


def is_over(now: datetime | None, job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition under which a queued job may be claimed. (Beyond the longest pause: the clock was set back.)"""
    return or_(
        job.retry_at.is_(None), job.retry_at <= clock.to_compare(now), job.retry_at > clock.to_compare(now, LONGEST)
    )


def is_on(job: Job, now: datetime) -> bool:
    """The opposite, of a queued job that was read."""
    return job.retry_at is not None and now < job.retry_at <= now + LONGEST
