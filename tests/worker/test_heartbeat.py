"""A worker is listed while it is there, with what it offers, and does what is asked of it through the list."""

import threading
from collections.abc import Iterator

import pytest

from jobs.states import State
from jobs.workers import roster
from jobs.workers.needs import Offer
from jobs.workers.roster import Status
from tests.support.databases import ON_ONE_DATABASE
from tests.support.waiting import HANG_SECONDS, wait_until
from worker import heartbeat
from worker.heartbeat import at_work, offer_of
from worker.loop import make_worker, work
from worker.worker import Worker


@pytest.fixture
def listed(db):
    def listed() -> list[roster.WorkerNow]:
        with db.read() as session:
            return roster.all_now(session)

    return listed


@pytest.fixture
def present(settings) -> Iterator[Worker]:
    """A worker as `kd work` sets it up, in threads of this process."""
    worker = make_worker(settings.model_copy(update={"standby": False}))
    thread = threading.Thread(target=work, args=(worker, 0.05, threading.Lock()))
    with at_work(worker):
        thread.start()
        yield worker
        worker.stopping.set()
        thread.join(HANG_SECONDS)
    worker.trainers.close()
    worker.db.kw["bind"].dispose()


def test_a_worker_is_listed_while_it_is_there_and_not_afterwards(settings, listed):
    worker = make_worker(settings)

    with at_work(worker):
        wait_until(listed)
        (shown,) = listed()
    worker.trainers.close()

    assert (shown.name, shown.status, shown.offer.memory_bytes > 0) == (worker.name, Status.IDLE, True)
    assert listed() == []


@ON_ONE_DATABASE
def test_a_beat_that_was_held_up_lists_no_worker_that_has_left(settings, listed, monkeypatch):
    held, beats_on = threading.Event(), threading.Event()

    def look(settings):
        if listed():  # not the first beat
            held.set()
            beats_on.wait(HANG_SECONDS)

    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat.quota, "trouble", look)
    worker = make_worker(settings)
    with at_work(worker):
        assert held.wait(HANG_SECONDS)
    worker.trainers.close()

    beats_on.set()
    wait_until(lambda: "heartbeat" not in [thread.name for thread in threading.enumerate()])

    assert listed() == []


@ON_ONE_DATABASE
def test_a_drained_worker_gives_its_job_back_and_takes_none_until_it_is_undrained(
    present, db, submit, wait_for, long, listed
):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.state is State.RUNNING)
    wait_until(lambda: [shown.status for shown in listed()] == [Status.BUSY])

    with db.begin() as session:
        roster.request_drain(session, present.name, drain=True)
    given_back = wait_for(job_id, lambda job: job.state is State.QUEUED)
    wait_until(lambda: [shown.status for shown in listed()] == [Status.DRAINED])

    assert given_back.stalls == 0
    with db.begin() as session:
        roster.request_drain(session, present.name, drain=False)
    assert wait_for(job_id, lambda job: job.state is State.RUNNING).attempt == 2


def test_what_a_setting_allows_trainers_is_what_a_worker_offers(settings):
    assert offer_of(settings.model_copy(update={"trainer_memory_bytes": 123})).memory_bytes == 123
    assert isinstance(offer_of(settings), Offer)
