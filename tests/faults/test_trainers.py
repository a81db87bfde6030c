"""A trainer dies where it hurts most, its files are damaged, its disk is full."""

import os
import resource
import signal

import pytest

from tests.faults.place import ENDLESS, QUICK
from tests.support.deployed import wait_until
from tests.support.trainers import READY


@pytest.mark.slow  # `tests/worker` shows the same, one by one
def test_a_trainer_killed_where_it_hurts_goes_on_to_the_same_weights(place):
    """In one job: in the middle of a checkpoint, with the newest one damaged, and with nothing left to do."""
    job_id = place.in_training()
    worker = place.on.worker_of(job_id)

    stage = place.on.stage
    stage.close_gate(READY)
    stage.set_trap("in a checkpoint")
    wait_until(lambda: stage.trap_has_sprung, "it died in a checkpoint")
    place.on.wait_for(job_id, lambda job: job["attempt"] == 2, "is claimed again")
    stage.set_trap("before its last word")
    newest = place.on.newest_resume(job_id)
    os.truncate(newest, newest.stat().st_size // 2)  # of which the second trainer knows nothing yet
    stage.open_gate(READY)
    wait_until(lambda: stage.trap_has_sprung, "it died when only its last word was missing")
    job = place.assert_as_undisturbed(job_id)

    first, before_the_damaged, *_, last = place.attempts(job_id)
    assert 0 == first < before_the_damaged < last
    refused = [event["data"]["error"]["code"] for event in place.on.events(job_id) if "error" in event["data"]]
    assert refused == ["killed", "bad_checkpoint", "killed"]
    assert job["attempt"] == 4
    assert worker.alive


@pytest.mark.slow  # `tests/worker` shows the same in one process
def test_a_poison_job_fails_after_three_trainers_and_its_worker_takes_the_next(place):
    """One is killed from outside, two crash in native code."""
    (worker,) = place.on.crew(1)
    poison = place.submit(ENDLESS)
    healthy = place.submit(QUICK)
    deaths = iter([signal.SIGKILL, signal.SIGSEGV, signal.SIGSEGV])
    ended = set()

    def end_its_trainer():
        job = place.on.job(poison)
        if job["status"] == "running":
            for trainer in worker.trainers():
                if trainer.pid not in ended:
                    trainer.send_signal(next(deaths))
                    ended.add(trainer.pid)
        return job["is_terminal"] and job

    job = wait_until(end_its_trainer, "it has failed")

    codes = [event["data"]["error"]["code"] for event in place.on.events(poison) if "error" in event["data"]]
    assert (job["status"], job["attempt"], len(ended)) == ("failed", 3, 3)
    assert codes == ["killed", "crashed", "crashed"]
    assert "SIGSEGV" in job["error"]["message"]
    assert place.on.wait_for_end(healthy)["status"] == "succeeded"
    assert worker.alive


@pytest.mark.slow  # `tests/worker` shows the same in one process
def test_a_full_disk_at_a_checkpoint_fails_the_job_with_the_reason_and_nothing_else(place, disk):
    job_id = place.in_training(ENDLESS)
    worker = place.on.worker_of(job_id)
    (trainer,) = worker.trainers()

    if disk.is_own:
        disk.fill()
    else:
        resource.prlimit(trainer.pid, resource.RLIMIT_FSIZE, (0, 0))  # it can write no file: as bad as a full disk
    job = place.on.wait_for_end(job_id)
    disk.free()

    assert (job["status"], job["error"]["code"]) == ("failed", "disk_full")
    assert job["error"]["hint"]
    place.running(QUICK)
    assert worker.alive
    assert place.on.api.alive
