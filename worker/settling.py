"""How an attempt's end gets into the database: the move that it calls for, tried until it is written or the lease is
gone."""

import contextlib
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobs import endings, kinds
from jobs.database.engine import UNREACHABLE
from jobs.endings import Code, Ending
from jobs.errors import LeaseLost
from jobs.files import find, retention, store
from jobs.kinds import Kind
from jobs.queue import datasets, leases, recording
from jobs.queue.fence import Claim
from jobs.states import FINAL, State
from kd.events import Finished
from worker import remedies
from worker.lease import RETRY_SECONDS, Lease
from worker.recorder import Recorder

log = structlog.get_logger()


@dataclass(frozen=True)
class End:
    """How a trainer's work has ended."""

    finished: Finished | None
    """The run's last word, if it came to it."""
    failure: Ending | None
    """Why it gave up, in its own words."""
    limit: Ending | None
    """Why we ended it, where nobody asked for that."""
    stopped: bool
    """It was in the way of others, and asked to stop."""
    death: Ending
    """What its exit code says, where nothing else says more."""
    phase: str | None
    """In which it was."""


def settle(lease: Lease, recorder: Recorder, end: End) -> None:
    """The trainer has said its last word: write it down, and how it ended. Raises `LeaseLost`."""
    while not lease.lapsed:
        if lease.try_to(recorder.flush) and lease.try_to(lambda: _release(lease, end)):
            return
        time.sleep(RETRY_SECONDS)
    # The trainer is gone, and what it said last with it. Perhaps the lease is still ours to give back: a renewal
    # that hung may have been done after all.
    with contextlib.suppress(*UNREACHABLE), lease.worker.db.begin() as session:
        _requeue(session, lease, lease.claim, None)
    raise LeaseLost(lease.claim.job_id, lease.claim.attempt)


def refuse(lease: Lease, ending: Ending) -> None:
    """Fail the job before a trainer has seen it."""
    lease.insist(lambda session: leases.release(session, lease.claim, State.FAILED, error=ending))


def put_back(lease: Lease, ending: Ending) -> None:
    """Another worker may do better: nothing is held against the job."""
    max_stalls = lease.worker.settings.max_stalls
    lease.insist(
        lambda session: leases.requeue(session, lease.claim, keep_stall=False, max_stalls=max_stalls, error=ending)
    )


def give_up(lease: Lease, error: Exception) -> None:
    """Something here is broken: say so in the job. If even that fails, the lease lapses and the job is rescued."""
    with contextlib.suppress(DBAPIError, LeaseLost, *UNREACHABLE), lease.worker.db.begin() as session:
        bug = endings.bug(error)
        leases.release(session, lease.claim, State.FAILED, error=bug, spent=lease.spent)


def _release(lease: Lease, end: End) -> None:
    data, job_id = lease.worker.settings.data_dir, lease.claim.job_id
    with lease.worker.db.begin() as session:
        state, unused = _move(session, lease, end)
        named = retention.paths_of(session, job_id)
    store.delete(data, unused)
    if state in FINAL:
        # What a killed trainer had written but not yet published.
        store.delete_unnamed_checkpoints(data, job_id, named=named)
    if state is State.SUCCEEDED and lease.claim.spec["mode"] == "ingest":
        datasets.use_up(lease.worker.db, data, lease.claim.spec["config"]["upload"])
    log.info("job_released", job=job_id, attempt=lease.claim.attempt, state=state)


def _move(session: Session, lease: Lease, end: End) -> tuple[State, list[str]]:
    """Make the move that this end calls for. Returns the state it led to, and paths to delete after the commit."""
    claim, failure = lease.claim, end.failure

    def release(state: State, **facts: Any) -> tuple[State, list[str]]:
        return state, leases.release(session, claim, state, spent=lease.spent, **facts)

    def with_patch(ending: Ending) -> Ending:
        light = kinds.of(claim.spec["mode"]) is Kind.LIGHT
        return replace(ending, patch=None if light else remedies.suggest(ending.code, claim.spec, end.phase))

    if end.finished is not None:
        said = end.finished.model_dump(mode="json", include={"metrics", "seconds", "verdict"})
        if kinds.of(claim.spec["mode"]) is Kind.DISTILLATION:
            said["best_checkpoint"] = find.checkpoint(session, claim.job_id, "best").id
        return release(State.SUCCEEDED, result=said)
    if lease.requests.cancel:
        return release(State.CANCELLED)
    if failure is not None and failure.code is Code.BAD_CHECKPOINT and claim.resume is not None:
        # Damaged on disk: the one before it serves, or the start does.
        before = recording.discard_resume(session, claim)
        return _requeue(session, lease, before, failure), [claim.resume.path]
    if failure is not None and failure.code is Code.UNFIT_CHECKPOINT:
        # Nothing is known to be wrong with the file: another worker may do.
        return _requeue(session, lease, claim, failure), []
    if failure is not None:
        return release(State.FAILED, error=with_patch(failure))
    if end.limit is not None and end.limit.code is not Code.STALLED:
        return release(State.FAILED, error=with_patch(end.limit))
    # (Who stops a whole service may have ended the trainer before we could ask it to.)
    if end.stopped or lease.worker.is_leaving:
        return _requeue(session, lease, claim, None), []
    return _requeue(session, lease, claim, with_patch(end.limit or end.death)), []


def _requeue(session: Session, lease: Lease, claim: Claim, error: Ending | None) -> State:
    """Put the job back. Whoever was in the way of others has not stalled."""
    return leases.requeue(
        session,
        claim,
        keep_stall=error is not None,
        max_stalls=lease.worker.settings.max_stalls,
        first_pause=timedelta(seconds=lease.worker.settings.retry_seconds),
        error=error,
        spent=lease.spent,
    )
