"""The broker is wiped, hangs, answers with errors, or rings for nothing: it is only the bell."""

import signal
import time
from statistics import median

import psutil
import pytest

from jobs.doorbell.celery import TASK, make_celery
from jobs.doorbell.notifier import Notifier
from jobs.ids import new
from tests.faults.place import ENDLESS, QUICK
from tests.support.deployed import wait_until
from tests.support.waiting import HANG_SECONDS

# Whoever waits for a broker waits at least for so long before giving up.
BROKER_SECONDS = 2

# The embedded deployment has no broker.
pytestmark = pytest.mark.parametrize("deployment", ["production"], indirect=True)


@pytest.mark.slow  # a bell that does not ring at all is shown below
def test_jobs_whose_rings_were_wiped_with_the_broker_all_run_once(place):
    place.on.crew(0)  # nobody hears the bell
    queued = [place.submit(QUICK) for _ in range(2)]
    wait_until(lambda: place.on.broker.rings() >= len(queued), "the broker holds a ring for each of them")

    place.on.broker.kill()
    place.on.broker.start()
    place.on.crew(1)

    for job_id in queued:
        job = place.on.wait_for_end(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1), job["error"]
        assert [event["type"] for event in place.on.events(job_id)].count("finished") == 1


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        ("is down", 0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("hangs", 0), ("hangs", 60), ("is down", 60))),
    ],
)
def test_without_a_bell_jobs_are_taken_at_once_and_start_by_polling(place, trouble, seconds):
    def submit() -> str:
        asked = time.monotonic()
        job_id = place.submit(QUICK)
        took.append(time.monotonic() - asked)
        return job_id

    took: list[float] = []
    for _ in range(3):
        place.on.client.cancel(submit())
    rung, took = took, []

    place.on.broker.send(signal.SIGSTOP) if trouble == "hangs" else place.on.broker.kill()
    began = time.monotonic()
    while True:
        first, *others = (submit() for _ in range(3))
        place.on.wait_for(first, lambda job: job["status"] != "queued", "starts without a bell")
        if time.monotonic() > began + seconds:
            break
        place.on.client.cancel_all(everything=True)
        for job_id in (first, *others):
            place.on.wait_for_end(job_id)
    place.on.broker.send(signal.SIGCONT) if trouble == "hangs" else place.on.broker.start()

    place.record(f"broker {trouble} -> POST /jobs: median, slowest", (round(median(took), 3), round(max(took), 3)))
    assert min(took) < min(rung) + BROKER_SECONDS, "nobody waits for the broker"
    assert place.on.wait_for_end(first)["status"] == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["is read-only", "cannot save"])
def test_a_worker_outlives_a_broker_that_answers_with_errors_and_hears_the_bell_again_afterwards(place, trouble):
    def is_heard() -> bool:
        notifier.job_queued("nobody")
        return times_heard(place) > before

    def heard_in() -> float:
        """The seconds that twenty rings in a row take."""
        began = time.monotonic()
        ringing = Notifier(place.on.environment["STILLHOUSE_BROKER_URL"])
        for _ in range(20):
            ringing.job_queued("nobody")
        ringing.close(HANG_SECONDS)
        wait_until(lambda: place.on.broker.rings() == 0, "all rings are heard")
        return time.monotonic() - began

    (worker,) = place.on.crew(1)
    notifier, before = Notifier(place.on.environment["STILLHOUSE_BROKER_URL"]), 0
    wait_until(is_heard, "the worker hears the bell")
    whole = heard_in()
    before = times_heard(place)

    place.on.broker.spoil(trouble)
    done = [place.on.wait_for_end(place.submit(QUICK)) for _ in range(2)]
    connections = len(psutil.Process(worker.pid).net_connections())
    time.sleep(5)

    assert [job["status"] for job in done] == ["succeeded", "succeeded"]
    assert len(psutil.Process(worker.pid).net_connections()) < connections + 3, "those that failed are closed"
    place.on.broker.mend()
    wait_until(is_heard, "the worker hears the bell again")
    notifier.close()
    assert heard_in() < whole + 20, "each at once, and not one with every try to connect"
    assert worker.alive


@pytest.mark.slow
def test_a_worker_that_is_to_leave_while_the_broker_hangs_gives_its_job_back_and_is_gone(place):
    (worker,) = place.on.crew(1)
    job_id = place.in_training(ENDLESS)
    place.on.broker.send(signal.SIGSTOP)
    time.sleep(2)  # by now it waits for an answer

    worker.send(signal.SIGTERM)
    job = place.on.wait_for(job_id, lambda job: job["status"] == "queued", "is given back")
    given_back = time.monotonic()
    code = worker.wait()  # while it still hangs
    place.measured("job given back beside a broker that hangs -> worker gone", given_back)

    assert code == 0
    assert job["attempt"] == 1
    assert place.on.row(job_id).stalls == 0


def times_heard(place) -> int:
    """How many rings the workers have taken."""
    with make_celery(place.on.environment["STILLHOUSE_BROKER_URL"]) as app:
        answers = wait_until(lambda: app.control.inspect(timeout=1).stats(), "a worker answers")
    return sum(stats["total"].get(TASK, 0) for stats in answers.values())


@pytest.mark.slow
def test_duplicate_late_and_senseless_rings_change_nothing(place):
    notifier = Notifier(place.on.environment["STILLHOUSE_BROKER_URL"])
    cancelled = place.submit(QUICK | {"epochs": 2})
    place.on.client.cancel(cancelled)
    place.on.wait_for_end(cancelled)
    before = place.on.job(cancelled)

    job_id = place.submit(QUICK)
    for _ in range(10):
        notifier.job_queued(job_id)
    done = place.on.wait_for_end(job_id)
    for unwanted in (job_id, cancelled, new("job"), "nonsense"):
        for _ in range(10):
            notifier.job_queued(unwanted)
    notifier.close(HANG_SECONDS)
    place.running(QUICK)

    assert (done["status"], done["attempt"]) == ("succeeded", 1), done["error"]
    assert place.on.job(job_id) == done
    assert place.on.job(cancelled) == before
