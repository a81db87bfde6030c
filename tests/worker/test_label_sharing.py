"""Labels through the service: of two jobs that want the same at once one writes and the other waits, or takes over;
a job that is killed goes on with those that it has kept, and they are progress."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.job import get_job
from jobs.log import curves, events
from jobs.states import FINAL, State
from kd.labels.labelling import CHUNK_SECONDS
from tests.support.databases import ON_ONE_DATABASE
from tests.support.offers import ENOUGH
from worker.loop import work
from worker.reserve import Trainers
from worker.worker import Worker

pytestmark = ON_ONE_DATABASE

# Labels for seconds, so that there is time to meet: every image in so many strong views.
MANY_LABELS = {"teacher": {"arch": "cnn", "epochs": 1}, "augmentation": {"strong": 2}, "views": 100, "control": False}


@pytest.fixture
def two_workers(db, settings):
    """Workers in threads of this process, each with trainers of its own."""
    with at_work(
        *(
            Worker(f"worker-{name}", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
            for name in "ab"
        )
    ):
        yield


@pytest.fixture
def strict_worker(db, settings):
    """A worker that gives a job up after one attempt without progress."""
    strict = settings.model_copy(update={"max_stalls": 1})
    with at_work(Worker("strict", db, strict, Trainers(keep_one_warm=True), threading.Event(), ENOUGH)):
        yield


@contextlib.contextmanager
def at_work(*workers: Worker) -> Iterator[None]:
    threads = [threading.Thread(target=work, args=(worker, 0.05, threading.Lock())) for worker in workers]
    for thread in threads:
        thread.start()
    yield
    for worker in workers:
        worker.stopping.set()
    for thread, worker in zip(threads, workers, strict=True):
        thread.join()
        worker.trainers.close()


class Told:
    """What the events of a job say."""

    def __init__(self, db, job_id: str):
        with db.read() as session:
            self.events = [(event.type, event.data) for event in events.events_after(session, job_id, 0, 10_000)]
            job = get_job(session, job_id)
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
        return "labelling.images_per_second" in curves.metric_series(session, job_id)


def over(db, *jobs: str) -> bool:
    return all(Told(db, job).state in FINAL for job in jobs)


def test_of_two_jobs_at_once_one_labels_and_the_other_waits_for_it(two_workers, submit, tiny, db, settings):
    jobs = [submit(tiny(**MANY_LABELS, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    writer, heir, trainer = held_while_it_labels(db, settings, *jobs)
    os.kill(trainer, signal.SIGCONT)
    wait_until(lambda: over(db, *jobs))

    assert [Told(db, job).state for job in jobs] == [State.SUCCEEDED] * 2
    assert [labelled(db, job) for job in (writer, heir)] == [True, False]
    assert Told(db, heir).codes()[:2] == ["labels_awaited", "labels_reused"]


def test_when_the_job_that_labels_is_killed_the_one_that_waits_goes_on_with_its_labels(
    two_workers, submit, tiny, db, settings
):
    jobs = [submit(tiny(**MANY_LABELS, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    writer, heir, trainer = held_while_it_labels(db, settings, *jobs)
    safe = count_of(settings.data_dir / "labels")

    os.kill(trainer, signal.SIGKILL)
    wait_until(lambda: over(db, *jobs))

    assert safe > 0
    assert Told(db, heir).state == Told(db, writer).state == State.SUCCEEDED
    assert labelled(db, heir)
    assert "labels_reused" not in Told(db, heir).codes()
    assert Told(db, writer).attempt == 2
    assert Told(db, writer).codes()[-3:].count("labels_reused") == 1


@pytest.mark.slow
def test_a_job_whose_trainer_is_killed_again_and_again_is_not_given_up_while_each_has_kept_more_labels(
    strict_worker, submit, tiny, db, settings
):
    job = submit(tiny(**MANY_LABELS | {"views": 50}))
    safe = [killed_when_it_has_kept_more(db, settings, job) for _ in range(2)]
    wait_until(lambda: over(db, job))

    assert 0 < safe[0] < safe[1]
    assert (Told(db, job).state, Told(db, job).attempt) == (State.SUCCEEDED, 3)


def test_labels_of_an_earlier_attempt_are_no_progress_of_one_that_keeps_none(strict_worker, submit, tiny, db, settings):
    job = submit(tiny(**MANY_LABELS))
    safe = killed_when_it_has_kept_more(db, settings, job)

    labels = settings.data_dir / "labels"
    wait_until(lambda: pid_that_has_mapped_a_draft(labels))
    os.kill(pid_that_has_mapped_a_draft(labels), signal.SIGKILL)  # two seconds before it would keep any
    wait_until(lambda: over(db, job))

    assert count_of(labels) == safe > 0, "it came to keep labels before it was killed"
    assert (Told(db, job).state, Told(db, job).attempt) == (State.FAILED, 2)


def killed_when_it_has_kept_more(db, settings, job: str) -> int:
    """End the job's trainer once it has kept labels, and said so; how many are safe."""
    labels = settings.data_dir / "labels"
    wait_until(lambda: pid_that_has_mapped_a_draft(labels))
    trainer, found = pid_that_has_mapped_a_draft(labels), count_of(labels)
    os.kill(trainer, signal.SIGSTOP)
    time.sleep(CHUNK_SECONDS)  # so that its next batch is kept: its clock goes on
    before = Told(db, job).progress
    os.kill(trainer, signal.SIGCONT)
    # What it says of its progress comes after what it says of the labels.
    wait_until(lambda: count_of(labels) > found and Told(db, job).progress != before)
    os.kill(trainer, signal.SIGKILL)
    wait_until(lambda: pid_that_has_mapped_a_draft(labels) != trainer)
    assert list(labels.glob("*.draft")), "it was too fast to be killed: give it more to label"
    return count_of(labels)


def count_of(labels: Path) -> int:
    """How many labels are safe."""
    return sum(int(count.read_text()) for count in labels.glob("*.count"))


def held_while_it_labels(db, settings, *jobs: str) -> tuple[str, str, int]:
    """The job that labels, its trainer stopped midway with labels safe; the job that waits; the stopped process."""
    labels = settings.data_dir / "labels"
    wait_until(lambda: pid_that_has_mapped_a_draft(labels))
    trainer = pid_that_has_mapped_a_draft(labels)
    os.kill(trainer, signal.SIGSTOP)
    stopped = time.monotonic()
    (writer,) = [job for job in jobs if job in os.readlink(f"/proc/{trainer}/fd/1")]  # its log
    (heir,) = [job for job in jobs if job != writer]
    wait_until(lambda: "labels_awaited" in Told(db, heir).codes())
    # Its clock went on: as soon as it goes on as well, it is time to make safe what it has.
    wait_until(lambda: time.monotonic() - stopped > CHUNK_SECONDS)
    os.kill(trainer, signal.SIGCONT)
    while not list(labels.glob("*.count")):
        assert time.monotonic() - stopped < 60
    os.kill(trainer, signal.SIGSTOP)
    assert list(labels.glob("*.draft")), "it was too fast to be held: give it more to label"
    return writer, heir, trainer


def pid_that_has_mapped_a_draft(labels) -> int | None:
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{process}/maps").read_text()
                if any(str(labels) in line and line.endswith(".draft") for line in maps.splitlines()):
                    return int(process)
    return None
