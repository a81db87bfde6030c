"""Two jobs that want the same labels at once, through the service: one writes, the other waits, or takes over."""

import os
import signal
import threading
import time

import pytest

from jobs import store
from jobs.states import FINAL, State
from worker.children import Trainers
from worker.loop import work
from worker.supervisor import Worker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Labels for seconds, so that there is time to meet: every image in so many strong views.
MANY_LABELS = {"teacher": {"arch": "cnn", "epochs": 1}, "augmentation": {"strong": 2}, "views": 100, "control": False}


@pytest.fixture
def two_workers(db, settings):
    """Workers in threads of this process, each with trainers of its own."""
    workers = [
        Worker(f"worker-{name}", db, settings, Trainers(keep_one_warm=False), threading.Event()) for name in "ab"
    ]
    threads = [threading.Thread(target=work, args=(worker, 0.05, threading.Lock())) for worker in workers]
    for thread in threads:
        thread.start()
    yield workers
    for worker in workers:
        worker.stopping.set()
    for thread, worker in zip(threads, workers, strict=True):
        thread.join()
        worker.trainers.close()


class Told:
    """What the events of a job say."""

    def __init__(self, db, job_id: str):
        with db.read() as session:
            self.events = [(event.type, event.data) for event in store.events_after(session, job_id, 0, 10_000)]
            job = store.get_job(session, job_id)
            self.state, self.progress, self.attempt = job.state, job.progress, job.attempt

    def codes(self) -> list[str]:
        return [data["code"] for kind, data in self.events if kind == "noted"]

    def phases(self) -> list[str]:
        return [data["phase"] for kind, data in self.events if kind == "phase"]


def wait_until(condition, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def labelled(db, job_id: str) -> bool:
    """Whether the job's own teacher was shown any image to label."""
    with db.read() as session:
        return "labelling.images_per_second" in store.metric_series(session, job_id)


def over(db, *jobs: str) -> bool:
    return all(Told(db, job).state in FINAL for job in jobs)


def test_of_two_jobs_at_once_one_labels_and_the_other_waits_for_it(two_workers, submit, tiny, db):
    jobs = [submit(tiny(**MANY_LABELS, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    wait_until(lambda: over(db, *jobs))

    told = [Told(db, job) for job in jobs]
    assert [one.state for one in told] == [State.SUCCEEDED] * 2
    assert sorted(labelled(db, job) for job in jobs) == [False, True]
    (waited,) = [one for job, one in zip(jobs, told, strict=True) if not labelled(db, job)]
    assert waited.codes()[:2] == ["labels_awaited", "labels_reused"]


def test_when_the_job_that_labels_is_killed_the_one_that_waits_goes_on_with_its_labels(
    two_workers, submit, tiny, db, settings
):
    jobs = [submit(tiny(**MANY_LABELS, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    wait_until(lambda: any("labels_awaited" in Told(db, job).codes() for job in jobs))
    (heir,) = [job for job in jobs if "labels_awaited" in Told(db, job).codes()]
    (writer,) = [job for job in jobs if job != heir]
    count = next((settings.data_dir / "labels").glob("*.draft")).with_suffix(".count")
    wait_until(count.exists)
    safe = int(count.read_text())

    os.kill(pid_that_writes_into(settings.data_dir / "jobs" / writer), signal.SIGKILL)
    wait_until(lambda: over(db, *jobs))

    assert safe > 0
    assert Told(db, heir).state == Told(db, writer).state == State.SUCCEEDED
    assert labelled(db, heir)
    assert "labels_reused" not in Told(db, heir).codes()
    assert Told(db, writer).attempt == 2
    assert Told(db, writer).codes()[-3:].count("labels_reused") == 1


def pid_that_writes_into(folder) -> int:
    """The trainer whose log lies in the folder."""
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                if os.readlink(f"/proc/{process}/fd/1").startswith(str(folder)):
                    return int(process)
            except OSError:
                continue
    raise AssertionError("nobody writes there")
