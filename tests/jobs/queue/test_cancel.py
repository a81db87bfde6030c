"""A cancel is a request; whoever is first decides, and exactly one wins."""

import threading
from datetime import timedelta

import pytest

from jobs.database.engine import Sessions, connect
from jobs.endings import Code, Ending
from jobs.errors import JobNotFound, LeaseLost, NotAllowed
from jobs.queue import fence, leases, requests, rescue
from jobs.states import State

SECOND = timedelta(seconds=1)
CRASH = Ending(Code.CRASHED, "The trainer was ended by SIGSEGV.", "See the log.")


@pytest.fixture
def cancel(db, NOON):
    def cancel(job_id: str, now=NOON):
        with db.begin() as session:
            return requests.cancel(session, job_id, now)

    return cancel


def test_a_job_that_waits_is_cancelled_at_once_and_never_starts(add, claim, cancel, events, NOON):
    job_id = add()

    row, changed = cancel(job_id, NOON + SECOND)

    assert changed
    assert (row.state, row.finished_at, row.cancel_requested_at) == (State.CANCELLED, NOON + SECOND, NOON + SECOND)
    assert events(job_id)[-1] == ("state", {"state": "cancelled"})
    assert claim() is None


def test_a_job_that_runs_is_asked_to_stop_and_its_worker_hears_of_it(db, add, claim, cancel, job, events, NOON, TTL):
    job_id = add()
    held = claim()

    row, changed = cancel(job_id)
    with db.begin() as session:
        heard = leases.renew(session, held, ttl=TTL, now=NOON)
    with db.begin() as session:
        leases.release(session, held, State.CANCELLED, now=NOON + SECOND)

    assert changed
    assert heard.cancel
    assert (row.state, row.cancel_requested_at, row.finished_at) == (State.RUNNING, NOON, None)
    assert (job(job_id).state, job(job_id).finished_at) == (State.CANCELLED, NOON + SECOND)
    assert [type_ for type_, _ in events(job_id)[-2:]] == ["cancel_requested", "state"]


def test_to_ask_twice_changes_nothing(add, claim, cancel, job, events, NOON):
    waits, runs = add(), add()
    claim(job_id=runs)
    for job_id in (waits, runs):
        cancel(job_id)
        before = (job(job_id).updated_at, events(job_id))

        row, changed = cancel(job_id, NOON + SECOND)

        assert not changed
        assert row.cancel_requested_at == NOON
        assert (job(job_id).updated_at, events(job_id)) == before


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_what_has_finished_cannot_be_cancelled(db, add, claim, cancel, state):
    job_id = add()
    with db.begin() as session:
        leases.release(session, claim_of(session), state)

    with pytest.raises(NotAllowed, match=f"{job_id} is {state}") as refused:
        cancel(job_id)

    assert (refused.value.action, refused.value.allowed) == ("cancel", ("retry", "delete"))


def claim_of(session) -> fence.Claim:
    claim = leases.claim(session, worker="w1", ttl=timedelta(seconds=30))
    assert claim is not None
    return claim


@pytest.mark.parametrize("job_id", ["job_01ARZ3NDEKTSV4RRFFQ69G5FAV", "job_\x00", "", "'; DROP TABLE jobs; --"])
def test_an_unknown_job_cannot_be_cancelled(cancel, job_id):
    with pytest.raises(JobNotFound):
        cancel(job_id)


def test_a_job_whose_worker_died_after_the_cancel_is_cancelled(add, claim, cancel, rescue, job, NOON, TTL):
    job_id = add()
    claim()
    cancel(job_id)

    assert rescue(NOON + 2 * TTL) == [(job_id, State.CANCELLED)]
    assert (job(job_id).finished_at, job(job_id).error) == (NOON + 2 * TTL, None)


@pytest.mark.parametrize("keep_stall", [True, False])
def test_a_job_that_would_go_back_to_the_queue_is_cancelled_if_asked(db, add, claim, cancel, job, keep_stall):
    job_id = add()
    held = claim()
    cancel(job_id)

    with db.begin() as session:
        state = leases.requeue(session, held, keep_stall=keep_stall, max_stalls=1, error=CRASH)

    assert state is State.CANCELLED
    assert (job(job_id).error, job(job_id).lease_owner) == (None, None)


def test_a_finish_that_comes_before_the_worker_heard_of_the_cancel_wins(db, add, claim, cancel, job):
    job_id = add()
    held = claim()
    cancel(job_id)

    with db.begin() as session:
        leases.release(session, held, State.SUCCEEDED)

    assert job(job_id).state is State.SUCCEEDED


def test_of_a_cancel_and_a_finish_at_the_same_moment_exactly_one_wins(db, add, claim, job, NOON, TTL):
    """Rescue with a cancel pending against the worker's finish: two transactions that both want the last word."""
    for _ in range(10):
        job_id = add()
        held = claim()
        with db.begin() as session:
            requests.cancel(session, job_id)
        both, won = threading.Barrier(2), []

        def finish(held=held, both=both, won=won) -> None:
            both.wait()
            try:
                with db.begin() as session:
                    leases.release(session, held, State.SUCCEEDED)
                won.append(State.SUCCEEDED)
            except LeaseLost:
                pass

        worker = threading.Thread(target=finish)
        worker.start()
        both.wait()
        with db.begin() as session:
            won += [state for _, state in rescue.rescue_expired(session, max_stalls=3, now=NOON + 2 * TTL)]
        worker.join()

        assert won == [job(job_id).state]


def test_to_cancel_while_a_worker_claims_leaves_no_job_half_way(db, database_url, add, job):
    other = Sessions(connect(database_url))
    for _ in range(10):
        job_id = add()
        both = threading.Barrier(2)

        def ask(job_id=job_id, both=both) -> None:
            both.wait()
            with other.begin() as session:
                requests.cancel(session, job_id)

        asker = threading.Thread(target=ask)
        asker.start()
        both.wait()
        with db.begin() as session:
            held = leases.claim(session, worker="w1", ttl=SECOND)
        asker.join()

        row = job(job_id)
        assert row.cancel_requested_at is not None
        assert row.state is (State.CANCELLED if held is None else State.RUNNING)
    other.kw["bind"].dispose()
