"""The one door for what a worker may write, and every write of it fenced.

A claim is the right to work on one attempt of one job. The fence is (attempt, owner, running): a worker that
slept through its lease matches no row any more, gets LeaseLost and drops its work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.orm import Session

from jobs.errors import AlreadyWritten, LeaseLost
from jobs.files.store import Stored
from jobs.log import events
from jobs.states import State
from jobs.tables import Job


@dataclass(frozen=True)
class Claim:
    """What a worker got: the job's resolved spec, and where to go on from."""

    job_id: str
    attempt: int
    worker: str
    spec: dict[str, Any] = field(repr=False)
    resume: Stored | None
    """The newest resume file."""
    checkpoint_step: int
    max_run_seconds: float | None = None
    run_seconds: float = 0.0
    """How long earlier attempts have run."""
    log_bytes: int = 0
    """What their logs take."""
    max_stall_seconds: float | None = None
    memory_bytes: int = 0
    """What its trainer may use of the machine's memory; 0: what the worker allows."""
    teachers: Mapping[str, Stored] = field(default_factory=dict)
    """The weights of other jobs' teachers that the spec wants, by their roles here, as far as they are still there."""


def conditions(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id == claim.job_id,
        Job.attempt == claim.attempt,
        Job.lease_owner == claim.worker,
        Job.state == State.RUNNING,
    )


def change(session: Session, claim: Claim, values: Mapping[str, Any], messages: range | None = None) -> Row[Any]:
    """The one door through which a worker changes a job: a conditional UPDATE that matches, or LeaseLost.

    It also locks the row, so whatever else the transaction writes about the job is fenced by it. `messages` says which
    of the attempt's messages this is, the first being 0: they are written once, also if the answer to a commit is lost
    and the worker tries again. It gets AlreadyWritten then.
    """
    where = conditions(claim)
    if messages is not None:
        where += (Job.messages == messages.start,)
        values = {**values, "messages": messages.stop}
    row = session.execute(
        update(Job)
        .where(*where)
        .values(**values)
        .returning(*events.COLUMNS, Job.state, Job.cancel_requested_at, Job.pause_requested_at, Job.error, Job.retry_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        written = session.execute(select(Job.messages).where(*conditions(claim))).scalar_one_or_none()
        if messages is not None and written is not None and written > messages.start:
            raise AlreadyWritten(claim.job_id, written)
        raise LeaseLost(claim.job_id, claim.attempt)
    return row
