"""Clocks that are set two hours ahead or back while jobs run, and right again after that."""

import threading

import httpx2
import pytest

from tests.attack.conftest import Attacked
from tests.support.deployed import wait_until
from tests.support.faults.clocks import compiler
from tests.support.receiving import Receiver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(compiler() is None, reason="a clock is stepped by a library, and there is no C compiler here"),
]

STEP = 7_200


@pytest.mark.parametrize("seconds", [STEP, -STEP], ids=["ahead", "back"])
def test_whosever_clock_is_set_a_job_ends_as_it_would_have(attacked: Attacked, undisturbed: object, seconds: int):
    for name, clock in sorted(attacked.clocks.items()):
        job_id = attacked.in_training()
        renewed = attacked.row(job_id).lease_expires_at
        clock.step(seconds)
        wait_until(lambda job=job_id, old=renewed: attacked.row(job).lease_expires_at != old, f"{name}: it goes on")
        assert httpx2.get(f"{attacked.url}/healthz", trust_env=False).status_code == 200
        clock.step(0)

        assert attacked.outcome(job_id) == undisturbed, name


@pytest.mark.parametrize("seconds", [STEP, -STEP], ids=["ahead", "back"])
def test_a_worker_that_dies_while_the_clock_is_wrong_keeps_its_job_no_longer_than_a_lease(
    attacked: Attacked, undisturbed: object, seconds: int
):
    clock = attacked.clocks["machine" if attacked.kind == "embedded" else "database"]
    job_id = attacked.in_training()
    worker, attempt = attacked.worker_of(job_id), attacked.job(job_id)["attempt"]
    renewed = attacked.row(job_id).lease_expires_at

    clock.step(seconds)
    wait_until(lambda: attacked.row(job_id).lease_expires_at != renewed, "it has a lease by the wrong clock")
    worker.kill()
    clock.step(0)
    attacked.crew(1)

    attacked.wait_for(job_id, lambda job: job["attempt"] > attempt, "is claimed again", seconds=120)
    assert attacked.outcome(job_id) == undisturbed


def test_what_was_to_be_told_while_the_clock_was_ahead_is_told_once_it_is_right(attacked: Attacked):
    """A receiver that takes its time with one message has the next one wait, due at a time that has not come yet."""
    clock = attacked.clocks["machine" if attacked.kind == "embedded" else "database"]
    attacked.crew(0)
    receiver = Receiver(hold=threading.Event())
    with receiver.listening():
        httpx2.post(f"{attacked.url}/webhooks", json={"url": receiver.url()}, trust_env=False).raise_for_status()
        clock.step(STEP)
        job_id = attacked.submit()
        wait_until(lambda: receiver.got, "the receiver has the first message")
        attacked.client.cancel(job_id)
        clock.step(0)
        receiver.hold.set()

        wait_until(lambda: len(receiver.got) > 1, "the receiver has the second message, too")
