"""A job is cancelled while it waits, while it runs, as its worker dies, and as it finishes."""

import signal
import time

import pytest

from client import ClientError
from tests.faults.place import ENDLESS, QUICK
from tests.support.deployed import wait_until
from tests.support.processes import gone
from tests.support.trainers import FINISHED


def test_a_job_cancelled_while_it_waits_never_starts(place):
    running = place.running(ENDLESS)
    waiting = place.submit(QUICK)

    assert place.on.client.cancel(waiting)["status"] == "cancelled"
    place.on.client.cancel(running)
    place.running(ENDLESS)  # the worker has looked for work again

    assert "claimed" not in [event["type"] for event in place.on.events(waiting)]
    assert place.on.job(waiting)["attempt"] == 0


@pytest.mark.slow  # `tests/worker` shows the same in one process
def test_cancelling_a_running_job_ends_its_trainer(place):
    job_id = place.in_training(ENDLESS)
    trainers = place.on.worker_of(job_id).trainers()

    place.on.client.cancel(job_id)
    asked = time.monotonic()
    place.wait_until_dead(trainers, asked, "cancel -> trainer gone")
    job = place.on.wait_for_end(job_id)
    place.measured("cancel -> cancelled", asked)

    assert (job["status"], job["error"]) == ("cancelled", None)


def test_a_job_whose_worker_dies_after_the_cancel_is_cancelled(place):
    job_id = place.running(ENDLESS)
    worker = place.on.worker_of(job_id)
    place.on.freeze(worker)  # so that it cannot hear of it

    place.on.client.cancel(job_id)
    worker.kill()
    place.on.let_lease_lapse(job_id)
    job = place.on.wait_for_end(job_id)

    assert (job["status"], job["attempt"], job["error"]) == ("cancelled", 1, None)


def test_a_cancel_that_comes_between_the_trainers_last_word_and_the_worker_ends_the_job_once(place):
    place.on.stage.close_gate(FINISHED)
    job_id = place.submit(QUICK)
    wait_until(place.on.stage.held, "the trainer is about to say its last word")
    worker = place.on.worker_of(job_id)
    trainers = worker.trainers()
    place.on.freeze(worker)
    place.on.stage.open_gate(FINISHED)  # it says it, and nobody listens
    wait_until(lambda: all(map(gone, trainers)), "the trainer has finished")

    place.on.client.cancel(job_id)
    worker.send(signal.SIGCONT)

    assert_ended_once(place, job_id)
    assert worker.alive


@pytest.mark.slow
def test_of_a_cancel_and_a_finish_exactly_one_wins_at_whatever_moment(place):
    began = time.monotonic()
    place.on.wait_for_end(place.submit(QUICK))
    too_early, too_late = 0.0, 2 * (time.monotonic() - began)
    for _ in range(20):  # closer and closer to the moment at which it turns
        job_id, moment = place.submit(QUICK), (too_early + too_late) / 2
        time.sleep(moment)
        _cancel(place, job_id)
        if assert_ended_once(place, job_id) == "cancelled":
            too_early = moment
        else:
            too_late = moment

    assert 0 < too_early < too_late


def _cancel(place, job_id: str) -> None:
    try:
        place.on.client.cancel(job_id)
    except ClientError:  # too late, which is what it says
        assert place.on.job(job_id)["status"] == "succeeded"


def assert_ended_once(place, job_id: str) -> str:
    job = place.on.wait_for_end(job_id)
    events = place.on.events(job_id)
    ends = [
        e["data"]["state"] for e in events if e["type"] == "state" and e["data"]["state"] not in ("queued", "running")
    ]
    assert ends == [job["status"]]
    assert job["status"] in ("succeeded", "cancelled")
    assert (job["result"] is not None) == (job["status"] == "succeeded")
    return job["status"]
