"""Pause is a request, like cancel: what waits is put aside at once, what runs when its worker hears of it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from jobs.envelope import Limits
from jobs.errors import JobNotFound, NotAllowed
from jobs.queue import leases, requests, rescue
from jobs.states import State
from jobs.tables import Job

SECOND = timedelta(seconds=1)


@pytest.fixture
def ask(db, NOON) -> Callable[..., tuple[Job, bool]]:
    def ask(what: Callable, job_id: str, now=NOON) -> tuple[Job, bool]:
        with db.begin() as session:
            return what(session, job_id, now)

    return ask


def test_a_job_that_waits_is_put_aside_and_nobody_gets_it(add, claim, ask, events, NOON):
    job_id = add()

    row, changed = ask(requests.pause, job_id, NOON + SECOND)

    assert changed
    assert (row.state, row.pause_requested_at, row.finished_at) == (State.PAUSED, NOON + SECOND, None)
    assert events(job_id)[-1] == ("state", {"state": "paused"})
    assert claim() is None


def test_a_job_that_runs_is_paused_when_its_worker_gives_it_back(db, add, claim, ask, job, events, NOON, TTL):
    job_id = add()
    held = claim()

    ask(requests.pause, job_id)
    with db.begin() as session:
        heard = leases.renew(session, held, ttl=TTL, now=NOON)
    with db.begin() as session:
        state = leases.requeue(session, held, keep_stall=False, max_stalls=3, now=NOON)

    assert heard == leases.Requests(cancel=False, pause=True)
    assert state is State.PAUSED
    assert (job(job_id).state, job(job_id).stalls, job(job_id).lease_owner) == (State.PAUSED, 0, None)
    assert [type_ for type_, _ in events(job_id)[-2:]] == ["pause_requested", "state"]


def test_a_paused_job_goes_on_from_its_last_checkpoint(db, add, claim, publish, ask, job, NOON):
    job_id = add()
    held = claim()
    publish(held, step=7)
    ask(requests.pause, job_id)
    with db.begin() as session:
        leases.requeue(session, held, keep_stall=False, max_stalls=3, now=NOON)

    row, changed = ask(requests.resume, job_id)
    again = claim()

    assert changed
    assert (row.state, row.pause_requested_at) == (State.QUEUED, None)
    assert (again.attempt, again.checkpoint_step) == (2, 7)


def test_the_time_for_which_a_job_was_put_aside_does_not_count_as_waiting(db, add, ask, job, NOON):
    job_id = add(limits=Limits(max_queue_seconds=60))
    ask(requests.pause, job_id)

    ask(requests.resume, job_id, NOON + 3_600 * SECOND)
    with db.begin() as session:
        expired = rescue.expire_waiting(session, now=NOON + 3_650 * SECOND)

    assert expired == []
    assert job(job_id).start_by == NOON + 3_660 * SECOND


def test_a_pause_that_was_only_asked_for_can_be_taken_back(db, add, claim, ask, job, events, NOON, TTL):
    job_id = add()
    held = claim()
    ask(requests.pause, job_id)

    row, changed = ask(requests.resume, job_id)
    with db.begin() as session:
        heard = leases.renew(session, held, ttl=TTL, now=NOON)

    assert changed
    assert row.state is State.RUNNING
    assert not heard.pause
    assert [type_ for type_, _ in events(job_id)[-2:]] == ["pause_requested", "pause_withdrawn"]


def test_a_job_whose_worker_died_while_it_was_to_pause_is_paused(add, claim, ask, rescue, NOON, TTL):
    job_id = add()
    claim()
    ask(requests.pause, job_id)

    assert rescue(NOON + 2 * TTL) == [(job_id, State.PAUSED)]


def test_a_finish_that_comes_first_wins_over_a_pause(db, add, claim, ask, job, NOON):
    job_id = add()
    held = claim()
    ask(requests.pause, job_id)

    with db.begin() as session:
        leases.release(session, held, State.SUCCEEDED, now=NOON)

    assert job(job_id).state is State.SUCCEEDED


def test_a_paused_job_can_be_cancelled(add, ask, job, NOON):
    job_id = add()
    ask(requests.pause, job_id)

    row, changed = ask(requests.cancel, job_id, NOON + SECOND)

    assert changed
    assert (row.state, row.finished_at) == (State.CANCELLED, NOON + SECOND)


@pytest.mark.parametrize(("first", "again"), [(requests.pause, requests.pause), (None, requests.resume)])
@pytest.mark.parametrize("runs", [False, True])
def test_to_ask_for_what_is_so_already_changes_nothing(add, claim, ask, job, events, first, again, runs):
    job_id = add()
    if runs:
        claim()
    if first:
        ask(first, job_id)
    before = (job(job_id).updated_at, events(job_id))

    _, changed = ask(again, job_id)

    assert not changed
    assert (job(job_id).updated_at, events(job_id)) == before


@pytest.mark.parametrize("what", [requests.pause, requests.resume])
def test_what_has_ended_can_be_neither_paused_nor_resumed(db, add, claim, ask, what):
    job_id = add()
    held = claim()
    with db.begin() as session:
        leases.release(session, held, State.FAILED)

    with pytest.raises(NotAllowed) as refused:
        ask(what, job_id)

    assert refused.value.allowed == ("retry", "delete")


@pytest.mark.parametrize("what", [requests.pause, requests.resume, requests.cancel])
def test_a_job_that_is_not_there_is_not_found(ask, what):
    with pytest.raises(JobNotFound):
        ask(what, "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW")
    with pytest.raises(JobNotFound):
        ask(what, "nonsense")
