"""How else an attempt ends: it fails with the reason in words, is cancelled, given back, or taken away."""

import os
import resource
import threading
from datetime import timedelta

import psutil

from jobs.files import layout
from jobs.job import get_job
from jobs.log.events import events_after
from jobs.queue import leases, requests, rescue
from jobs.states import State
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.offers import ENOUGH
from tests.support.trainers import READY, alive, trainers_of
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.attempt import supervise
from worker.reserve import Trainers
from worker.worker import Worker


def event_types(db, job_id: str) -> list[str]:
    with db.read() as session:
        return [event.type for event in events_after(session, job_id, 0, 10_000)]


@ON_ONE_DATABASE
def test_a_full_disk_fails_the_job_with_the_reason_though_no_log_can_be_written(
    worker, submit, wait_for, tiny, settings
):
    job_id = submit(tiny(epochs=10_000))
    wait_for(job_id, lambda job: job.phase == "student")
    (pid,) = trainers_of(os.getpid())

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))  # from now on it can write no file: as bad as a full disk
    job = wait_for(job_id)

    assert job.state == State.FAILED
    assert job.error["code"] == "disk_full", job.error


@ON_ONE_DATABASE
def test_a_job_that_cannot_run_fails_at_once_with_the_reason_and_keeps_its_log(
    worker, submit, wait_for, tiny, settings
):
    wild = {"arch": "mlp", "epochs": 4, "optimizer": {"lr": 10, "momentum": 0.99, "weight_decay": 1}}

    job = wait_for(submit(tiny(teacher=wild)))

    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert job.error["code"] == "diverged"
    assert "learning rate of" in job.error["message"]
    assert "smaller learning rate" in job.error["hint"]
    log = layout.attempt_folder(settings.data_dir, job.id, 1) / "trainer.log"
    assert "Diverged" in log.read_text()


@ON_ONE_DATABASE
def test_a_job_that_needs_more_memory_than_there_is_fails_in_words_and_the_next_one_runs(
    worker, submit, wait_for, tiny, stage
):
    # Ready, the first trainer gets 400 MB of address space more than it has: one layer of its teacher is 411 MB.
    stage.close_gate(READY)
    hungry = submit(tiny(teacher={"arch": "torchvision/vgg11", "epochs": 1}))
    modest = submit(tiny())
    (pid,) = wait_until(stage.held)
    enough = psutil.Process(pid).memory_info().vms + 400_000_000
    resource.prlimit(pid, resource.RLIMIT_AS, (enough, enough))
    stage.open_gate(READY)

    job = wait_for(hungry)

    assert job.state == State.FAILED
    assert job.error["code"] == "out_of_memory", job.error
    assert "batch_size" in job.error["hint"]
    assert wait_for(modest).state == State.SUCCEEDED


@ON_ONE_DATABASE
def test_missing_data_fail_the_job_with_what_to_put_where(worker, submit, wait_for, tiny):
    job = wait_for(submit(tiny(dataset="cifar10", student={"arch": "resnet8"})))

    assert job.state == State.FAILED
    assert job.error["code"] == "bad_data"
    assert "cifar-10" in job.error["message"]


@SLOW_ON_POSTGRESQL
def test_cancelling_a_running_job_ends_its_trainer(worker, submit, wait_for, long, db):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase == "student")
    (pid,) = trainers_of(os.getpid())

    with db.begin() as session:
        requests.cancel(session, job_id)
    job = wait_for(job_id, lambda job: job.state == State.CANCELLED)

    assert not alive(pid)
    assert job.error is None


def test_a_job_cancelled_while_it_waits_never_starts(settings, submit, db):
    trainers = Trainers(keep_one_warm=False)
    worker = Worker("late", db, settings, trainers, threading.Event(), ENOUGH)
    from kd.spec import parse

    job_id = submit(parse({"mode": "train", "config": {}}))
    with db.begin() as session:
        requests.cancel(session, job_id)

    assert supervise(worker) is False
    assert "claimed" not in event_types(db, job_id)


@SLOW_ON_POSTGRESQL
def test_stopping_the_worker_gives_the_job_back_without_a_stall(settings, submit, wait_for, long, db):
    worker = Worker("draining", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    job_id = submit(long())
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    wait_for(job_id, lambda job: job.checkpoint_step > 20)
    with db.read() as session:
        stalls = get_job(session, job_id).stalls

    worker.stopping.set()
    thread.join(HANG_SECONDS)

    job = wait_for(job_id, lambda job: job.state == State.QUEUED)
    assert job.lease_owner is None
    assert job.stalls <= stalls
    assert not trainers_of(os.getpid())


@SLOW_ON_POSTGRESQL
def test_a_worker_whose_lease_was_taken_kills_its_trainer_and_writes_nothing_more(settings, submit, wait_for, long, db):
    worker = Worker("slow", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    job_id = submit(long())
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    job = wait_for(job_id, lambda job: job.phase == "student")

    def rescued() -> bool:  # not while the worker writes: rescue passes by a row that is locked
        with db.begin() as session:
            return bool(rescue.rescue_expired(session, max_stalls=3, now=job.lease_expires_at + timedelta(hours=1)))

    wait_until(rescued)
    with db.begin() as session:
        assert leases.claim(session, worker="other", ttl=timedelta(seconds=60)) is not None
    thread.join(HANG_SECONDS)

    assert not thread.is_alive()
    assert not trainers_of(os.getpid())
    with db.read() as session:
        assert all(event.attempt == 2 for event in events_after(session, job_id, 0, 10_000)[-2:])
        assert get_job(session, job_id).lease_owner == "other"
