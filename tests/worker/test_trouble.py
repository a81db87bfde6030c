"""What is this machine's or the database's trouble, not the job's: it is not held against the job, nor asked for again
and again."""

import errno
import os
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from jobs import endings
from jobs.log import events
from jobs.queue import leases
from jobs.states import State
from tests.support.databases import SLOW_ON_POSTGRESQL
from tests.support.offers import ENOUGH
from tests.support.waiting import HANG_SECONDS, wait_until
from worker import child as children
from worker import descendants, lease, reserve, settling
from worker.attempt import supervise
from worker.loop import has_work, work
from worker.recorder import Recorder
from worker.reserve import Trainers
from worker.worker import Worker


@pytest.fixture
def idle(db, settings) -> Worker:
    """A worker that does what the test lets it do."""
    return Worker("w1", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)


def no_process(machine: pytest.MonkeyPatch) -> None:
    def out_of_processes(module: str) -> children.Child:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    machine.setattr(reserve, "Child", out_of_processes)


def no_thread_to_mind_it(machine: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread, start=threading.Thread.start) -> None:
        if thread._target.__name__ == "_fence_myself":
            raise RuntimeError("can't start new thread")
        start(thread)

    machine.setattr(threading.Thread, "start", start)


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("lacks", [no_process, no_thread_to_mind_it])
def test_where_no_trainer_can_be_started_no_job_is_taken_for_a_while(
    idle, submit, wait_for, tiny, monkeypatch, trainers, lacks
):
    lacks(monkeypatch)
    job_id = submit(tiny())

    supervise(idle)

    job = wait_for(job_id, lambda job: job.state is State.QUEUED)
    assert (job.attempt, job.stalls) == (1, 0)
    assert not idle.takes()
    assert "out of processes or memory" in idle.trouble
    assert not trainers()
    monkeypatch.undo()
    monkeypatch.setattr(reserve, "NO_TRAINER_SECONDS", 0.0)
    assert idle.takes(), "it is tried again"
    supervise(idle)
    assert wait_for(job_id).state is State.SUCCEEDED
    assert idle.trouble is None


def test_a_trainer_that_no_signal_ends_holds_up_nobody_and_is_told_of(monkeypatch):
    """A call into a broken disk or driver does not end, and until it does the kernel ends nobody."""
    trainers = Trainers(keep_one_warm=False)
    child = trainers.take()
    with monkeypatch.context() as kernel:
        kernel.setattr(children, "GONE_SECONDS", 0.1)
        kernel.setattr(os, "killpg", lambda group, signal: None)
        kernel.setattr(descendants, "kill", lambda mark: None)
        kernel.setattr(child._process.stdin, "close", lambda: None)

        child.kill()

        assert f"process {child.pid}" in trainers.trouble
    child.kill()
    assert trainers.trouble is None
    assert child.exit_code < 0


@SLOW_ON_POSTGRESQL
def test_a_job_whose_claim_was_never_answered_is_given_back_without_a_stall(
    idle, forgetful, submit, wait_for, tiny, db
):
    job_id = submit(tiny())
    worker = replace(idle, db=forgetful)
    forgetful.lose_answers = 1

    with pytest.raises(OperationalError):
        supervise(worker)
    held = wait_for(job_id, lambda job: True)
    loop = threading.Thread(target=work, args=(worker, 0.05, threading.Lock()))  # though no other job waits
    loop.start()
    ended = wait_for(job_id)
    worker.stopping.set()
    loop.join(HANG_SECONDS)

    assert (held.state, held.lease_owner) == (State.RUNNING, "w1")
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
    with db.read() as session:
        told = [event.data for event in events.events_after(session, job_id) if event.type == "state"]
    assert [data["state"] for data in told] == ["queued", "running", "queued", "running", "succeeded"]
    assert not any("reason" in data for data in told), "nobody had to rescue it"


@SLOW_ON_POSTGRESQL
def test_a_worker_that_fenced_itself_gives_the_job_back_if_it_still_may(
    idle, forgetful, submit, wait_for, long, db, settings, trainers, monkeypatch
):
    worker = replace(idle, db=forgetful, settings=settings)
    job_id = submit(long())
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    wait_for(job_id, lambda job: job.checkpoint_step > 0)

    forgetful.answers.clear()
    monkeypatch.setattr(lease, "SELF_FENCE", 1 / settings.lease_seconds)  # after a second, of an hour
    wait_until(lambda: not trainers(), "it has ended its trainer")
    forgetful.answers.set()
    wait_for(job_id, lambda job: job.state is State.QUEUED)
    thread.join(HANG_SECONDS)

    with db.read() as session:
        last = events.events_after(session, job_id, 0, 1_000)[-1]
    assert (last.type, last.data) == ("state", {"state": "queued"})
    assert wait_for(job_id, lambda job: True).stalls == 0


@pytest.mark.parametrize("retry_seconds", [600, 0])
def test_a_trainer_that_crashed_is_not_started_again_before_the_settings_say_so(
    idle, settings, submit, wait_for, tiny, db, retry_seconds
):
    job_id = submit(tiny())
    worker = replace(idle, settings=settings.model_copy(update={"retry_seconds": retry_seconds}))
    with db.begin() as session:
        claim = leases.claim(session, worker="w1", ttl=timedelta(hours=1))
    held, said = lease.Lease(worker, claim, claimed_at=time.monotonic()), Recorder(db, claim, settings.data_dir, None)

    crash = settling.End(None, failure=None, limit=None, stopped=False, death=endings.death(-11), phase=None)
    settling.settle(held, said, crash)

    job = wait_for(job_id, lambda job: job.state is State.QUEUED)
    assert (job.stalls, job.retry_at is None) == (1, not retry_seconds)
    assert has_work(worker) == (not retry_seconds), "idle workers do not ask for it again and again"
