"""A worker dies, sleeps, or is asked to go, in the middle of a job."""

import random
import signal
import time

import pytest

from tests.faults.place import ENDLESS, JOB
from tests.support.deployed import wait_until
from tests.support.processes import gone
from tests.support.trainers import MADE_SAFE


def test_a_job_whose_worker_was_killed_goes_on_elsewhere_to_the_same_weights(place):
    job_id = place.in_training()
    worker = place.on.worker_of(job_id)
    trainers = worker.trainers()
    place.on.crew(2)

    worker.kill()
    place.wait_until_dead(trainers, time.monotonic(), "worker killed -> trainer gone")
    assert place.on.job(job_id)["attempt"] == 1, "long before somebody else may have the job"
    place.on.let_lease_lapse(job_id)
    lapsed = time.monotonic()
    place.on.wait_for(job_id, lambda job: job["attempt"] > 1, "is claimed again")
    place.measured("lease lapsed -> claimed again", lapsed)

    place.assert_as_undisturbed(job_id)


@pytest.mark.slow
def test_a_worker_that_slept_through_its_lease_writes_nothing_and_ends_its_trainer(place):
    job_id = place.in_training()
    worker = place.on.worker_of(job_id)
    (trainer,) = worker.trainers()

    trainer.suspend()  # so that it does not end by itself
    place.on.freeze(worker)
    known = place.on.checkpoints_on_disk(job_id)
    trainer.resume()
    wait_until(lambda: place.on.checkpoints_on_disk(job_id) > known, "it has said what nobody has heard")
    trainer.suspend()
    place.on.crew(2)
    place.on.let_lease_lapse(job_id)
    place.on.wait_for(job_id, lambda job: job["attempt"] > 1, "is claimed by the other")
    assert not gone(trainer)
    worker.send(signal.SIGCONT)
    place.wait_until_dead([trainer], time.monotonic(), "worker awake -> trainer gone")
    place.assert_as_undisturbed(job_id)

    events = place.on.events(job_id)
    claimed = [place for place, event in enumerate(events) if event["type"] == "claimed"]
    assert all(event["attempt"] > 1 for event in events[claimed[1] :])
    assert worker.alive


@pytest.mark.slow  # `tests/worker` shows the same in one process
def test_a_worker_that_sleeps_while_labels_are_written_holds_up_nobody(place):
    """Its trainer has the lock of the table and, sooner or later, nobody who reads what it says."""
    place.on.crew(0)
    place.on.stage.close_gate(MADE_SAFE)
    sleeper = place.on.add_worker(STILLHOUSE_LEASE_SECONDS="4", LABELS_ARE_KEPT_EVERY_SECONDS="0")
    labelled = JOB | {"dataset": "digits", "views": 8, "epochs": 1}  # in ten batches, each of which is kept
    asleep = place.submit(labelled)
    wait_until(place.on.stage.held, "it labels")
    trainers = sleeper.trainers()
    place.on.freeze(sleeper)
    frozen = time.monotonic()
    place.on.crew(2)
    awake = place.submit(labelled | {"objective": {"temperature": 8.0}})

    place.wait_until_dead(trainers, frozen, "worker asleep -> trainer gone")
    place.on.stage.open_gate(MADE_SAFE)
    done = [place.on.wait_for_end(job) for job in (awake, asleep)]
    sleeper.send(signal.SIGCONT)

    assert [job["status"] for job in done] == ["succeeded"] * 2, [job["error"] for job in done]
    assert place.on.job(asleep)["attempt"] == 2


@pytest.mark.slow  # `tests/worker` shows the same in one process
def test_on_sigterm_a_worker_gives_its_job_back_with_a_checkpoint_and_without_a_stall(place):
    job_id = place.in_training()
    worker = place.on.worker_of(job_id)
    seen = place.on.job(job_id)["progress"]["step"]

    worker.send(signal.SIGTERM)
    asked = time.monotonic()
    code = worker.wait()
    place.measured("SIGTERM -> worker gone", asked)
    job = place.on.job(job_id)
    assert (code, job["status"]) == (0, "queued"), place.on.logs()
    assert job["worker"] is None
    assert place.on.row(job_id).stalls == 0

    place.on.crew(1)
    place.assert_as_undisturbed(job_id)
    assert place.attempts(job_id)[-1] >= seen, "it went on from where it was asked to stop"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_job_survives_its_worker_being_killed_at_random_moments(place, seed):
    moments = random.Random(seed)
    job_id = place.submit()

    for _ in range(3):
        place.on.wait_for(job_id, lambda job: job["status"] == "running" or job["is_terminal"], "runs")
        if place.on.job(job_id)["is_terminal"]:
            break
        time.sleep(moments.uniform(0, 2.5))
        for worker in place.on.crew(1):
            worker.kill()
        place.on.crew(1)
        time.sleep(moments.uniform(0, 2.5))
        if place.on.job(job_id)["status"] == "running":
            place.on.let_lease_lapse(job_id)

    job = place.on.wait_for_end(job_id)
    if job["status"] == "failed":  # killed three times before it had learned anything
        assert job["error"]["code"] == "worker_lost"
        return
    place.assert_as_undisturbed(job_id, resumed=False)


@pytest.mark.slow
def test_a_worker_frozen_for_the_rest_of_the_job_changes_nothing_when_it_thaws(place):
    job_id = place.in_training()
    worker = place.on.worker_of(job_id)
    trainers = worker.trainers()
    place.on.freeze(worker)
    place.on.crew(2)
    place.on.let_lease_lapse(job_id)
    done = place.assert_as_undisturbed(job_id)
    events = place.on.events(job_id)
    worker.send(signal.SIGCONT)
    place.wait_until_dead(trainers, time.monotonic(), "worker awake -> trainer gone")
    next_job = place.submit()
    wait_until(lambda: place.on.job(next_job)["status"] != "queued", "the next job is claimed")

    assert place.on.job(job_id) == done
    assert place.on.events(job_id) == events


@pytest.mark.slow
def test_a_worker_may_be_asked_to_go_more_often_than_a_job_may_stall(place):
    job_id = place.submit(ENDLESS)

    for attempt in range(1, 5):
        place.on.wait_for(job_id, lambda job, n=attempt: job["worker"] and job["attempt"] == n, "is claimed")
        worker = place.on.worker_of(job_id)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert place.on.row(job_id).stalls == 0
        place.on.crew(1)

    place.on.wait_for_training(job_id)
