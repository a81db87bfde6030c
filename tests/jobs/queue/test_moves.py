"""`jobs.states.MOVES` is what the code does: every function in every situation moves a job as listed, or not at all."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module

import pytest
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database.engine import Sessions
from jobs.envelope import Envelope, Limits
from jobs.errors import LeaseLost, NotAllowed
from jobs.job import get_job
from jobs.queue import chains, leases, requests, rescue, submit
from jobs.queue.fence import Claim
from jobs.states import FINAL, MOVES, State
from jobs.tables import Job
from kd.spec import parse

TTL = timedelta(seconds=30)
SPEC = parse({"mode": "train", "config": {}})
PATIENCE = timedelta(seconds=60)

Deed = Callable[[Session, str, Claim, datetime], object]


def pause(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    requests.pause(session, job_id, now)


def cancel(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    requests.cancel(session, job_id, now)


def cancel_all(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    requests.cancel_all(session, [Job.id == job_id], now)


def resume(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    requests.resume(session, job_id, now)


def take(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    leases.claim(session, worker="w2", ttl=TTL, now=now)


def release(state: State, session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    leases.release(session, claim, state, now=now)


def requeue(crashed: bool, session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    leases.requeue(session, claim, keep_stall=crashed, max_stalls=2, now=now)


def rescue_expired(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    rescue.rescue_expired(session, max_stalls=2, now=now)


def expire_waiting(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    rescue.expire_waiting(session, now=now)


def lose_the_teacher(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    """It has waited for a job that is gone."""
    job = get_job(session, job_id)
    config = job.resolved_spec["config"] | {"teacher": {"job": ids.new("job"), "role": "teacher"}}
    job.resolved_spec, job.waits_for_job_id = job.resolved_spec | {"config": config}, ids.new("job")
    session.flush()


def settle(session: Session, job_id: str, claim: Claim, now: datetime) -> None:
    chains.settle(session, now)


DEEDS: list[tuple[str, Deed]] = [
    ("jobs.queue.requests.pause", pause),
    ("jobs.queue.requests.cancel", cancel),
    ("jobs.queue.requests.cancel_all", cancel_all),
    ("jobs.queue.requests.resume", resume),
    ("jobs.queue.leases.claim", take),
    *(("jobs.queue.leases.release", partial(release, state)) for state in sorted(FINAL)),
    *(("jobs.queue.leases.requeue", partial(requeue, crashed)) for crashed in (False, True)),
    ("jobs.queue.rescue.rescue_expired", rescue_expired),
    ("jobs.queue.rescue.expire_waiting", expire_waiting),
    ("jobs.queue.chains.settle", settle),
]

# What has happened to a job, in this order; what its state does not allow has no effect.
PASTS: list[tuple[Deed, ...]] = [
    (),
    *((request,) for request in (pause, cancel)),
    (lose_the_teacher,),
    (take,),
    *((take, request) for request in (pause, cancel)),
    (take, pause, cancel),
    *((take, partial(release, state)) for state in sorted(FINAL)),
    *((take, partial(requeue, True), take, *more) for more in ((), (pause,), (cancel,))),
]


def test_each_move_is_listed_once_with_functions_that_exist() -> None:
    assert len({(move.before, move.after) for move in MOVES}) == len(MOVES)
    for name in itertools.chain.from_iterable(move.made_by for move in MOVES):
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function))


def test_every_move_that_is_listed_is_made_and_no_other(db: Sessions, NOON: datetime) -> None:
    listed = {(move.before, move.after, function) for move in MOVES for function in move.made_by}

    assert set(moves(db, NOON)) == listed


def moves(db: Sessions, now: datetime) -> Iterator[tuple[State, State, str]]:
    envelope = Envelope(limits=Limits(max_queue_seconds=PATIENCE.total_seconds()))
    with db() as session:  # nothing is ever committed
        for past, (function, deed) in itertools.product(PASTS, DEEDS):
            job_id = submit.add_job(session, SPEC, envelope=envelope, now=now).id
            for number, earlier in enumerate(past):
                do(session, earlier, job_id, now + timedelta(seconds=number))
            before = get_job(session, job_id).state
            do(session, deed, job_id, now + 2 * PATIENCE)
            after = get_job(session, job_id).state
            if after is not before:
                yield before, after, function
            session.rollback()


def do(session: Session, deed: Deed, job_id: str, now: datetime) -> None:
    job = get_job(session, job_id)
    claim = Claim(job_id, job.attempt, job.lease_owner or "nobody", spec={}, resume=None, checkpoint_step=-1)
    with contextlib.suppress(NotAllowed, LeaseLost):
        deed(session, job_id, claim, now)


@pytest.mark.parametrize("state", State)
def test_a_state_that_is_final_has_no_way_out(state: State) -> None:
    assert (state in FINAL) == (not any(move.before is state for move in MOVES))
