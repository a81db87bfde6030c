"""Labels through the service: of two jobs that want the same at once one writes and the other waits, or takes over;
a job that is killed goes on with those that it has kept, and they are progress."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.job import get_job
from jobs.log import events
from jobs.states import FINAL, State
from tests.support import curves
from tests.support.databases import ON_ONE_DATABASE
from tests.support.offers import ENOUGH
from tests.support.trainers import MADE_SAFE, READY, SHOWS_HOW_IT_LABELS, Stage, log_of
from tests.support.waiting import wait_until
from worker.loop import work
from worker.reserve import Trainers
from worker.worker import Worker

pytestmark = ON_ONE_DATABASE

# Labels of ten batches; each batch is made safe.
LABELLED = {"teacher": {"arch": "mlp", "epochs": 1}, "views": 8, "control": False, "epochs": 1}


@pytest.fixture(autouse=True)
def _each_batch_is_kept(monkeypatch) -> None:
    monkeypatch.setenv("LABELS_ARE_KEPT_EVERY_SECONDS", "0")


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
    with at_work(Worker("strict", db, strict, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)):
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
            self.state, self.stalls, self.attempt = job.state, job.stalls, job.attempt

    def codes(self) -> list[str]:
        return [data["code"] for kind, data in self.events if kind == "noted"]


def labelled(db, job_id: str) -> bool:
    """Whether the job's own teacher was shown any image to label."""
    with db.read() as session:
        return "labelling.images_per_second" in curves.series(session, job_id)


def over(db, *jobs: str) -> bool:
    return all(Told(db, job).state in FINAL for job in jobs)


def test_of_two_jobs_at_once_one_labels_and_the_other_waits_for_it(two_workers, submit, tiny, db, stage):
    stage.close_gate(MADE_SAFE)
    jobs = [submit(tiny(**LABELLED, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    writer, heir, _ = held_while_it_labels(db, stage, *jobs)
    stage.open_gate(MADE_SAFE)
    wait_until(lambda: over(db, *jobs))

    assert [Told(db, job).state for job in jobs] == [State.SUCCEEDED] * 2
    assert [labelled(db, job) for job in (writer, heir)] == [True, False]
    assert Told(db, heir).codes()[:2] == ["labels_awaited", "labels_reused"]


@pytest.mark.slow  # `tests/kd/labels` shows the same of two runs
def test_when_the_job_that_labels_is_killed_the_one_that_waits_goes_on_with_its_labels(
    two_workers, submit, tiny, db, settings, stage
):
    stage.close_gate(MADE_SAFE)
    jobs = [submit(tiny(**LABELLED, objective={"temperature": temperature})) for temperature in (2.0, 8.0)]
    writer, heir, trainer = held_while_it_labels(db, stage, *jobs)
    safe = count_of(settings.data_dir / "labels")

    stage.close_gate(READY)  # for the next trainer of the one that is killed
    os.kill(trainer, signal.SIGKILL)
    wait_until(lambda: any(heir in log_of(pid) for pid in stage.held()), "the one that waited has kept labels too")
    more = count_of(settings.data_dir / "labels")
    stage.open_gate(MADE_SAFE)
    stage.open_gate(READY)
    wait_until(lambda: over(db, *jobs))

    assert 0 < safe < more
    assert Told(db, heir).state == Told(db, writer).state == State.SUCCEEDED
    assert labelled(db, heir)
    assert "labels_reused" not in Told(db, heir).codes()
    assert Told(db, writer).attempt == 2
    assert Told(db, writer).codes()[-3:].count("labels_reused") == 1


@pytest.mark.slow
def test_a_job_whose_trainer_is_killed_again_and_again_is_not_given_up_while_each_has_kept_more_labels(
    strict_worker, submit, tiny, db, settings, stage
):
    stage.close_gate(MADE_SAFE)
    job = submit(tiny(**LABELLED))
    safe = [killed_when_it_has_kept_more(db, settings, stage, job) for _ in range(2)]
    stage.open_gate(MADE_SAFE)
    wait_until(lambda: over(db, job))

    assert 0 < safe[0] < safe[1]
    assert (Told(db, job).state, Told(db, job).attempt) == (State.SUCCEEDED, 3)


@pytest.mark.slow
def test_labels_of_an_earlier_attempt_are_no_progress_of_one_that_keeps_none(
    strict_worker, submit, tiny, db, settings, stage, monkeypatch
):
    stage.close_gate(MADE_SAFE)
    job = submit(tiny(**LABELLED))
    wait_until(stage.held)
    monkeypatch.setenv("LABELS_ARE_KEPT_EVERY_SECONDS", "3600")  # for the next trainer
    stage.close_gate(SHOWS_HOW_IT_LABELS)
    safe = killed_when_it_has_kept_more(db, settings, stage, job)

    (second,) = wait_until(stage.held, "it has labelled, on top of what it found")
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: over(db, job))

    assert count_of(settings.data_dir / "labels") == safe > 0, "it came to keep labels before it was killed"
    assert (Told(db, job).state, Told(db, job).attempt) == (State.FAILED, 2)


def killed_when_it_has_kept_more(db, settings, stage: Stage, job: str) -> int:
    """End the job's trainer once it has kept labels, and was heard to say so; how many are safe."""
    (trainer,) = wait_until(stage.held)
    stage.let_pass(trainer)
    wait_until(stage.held)
    wait_until(lambda: Told(db, job).stalls == 0, "it was heard")
    os.kill(trainer, signal.SIGKILL)
    wait_until(lambda: trainer not in stage.held())
    return count_of(settings.data_dir / "labels")


def count_of(labels: Path) -> int:
    """How many labels are safe."""
    return sum(int(count.read_text().split()[0]) for count in labels.glob("*.count"))


def held_while_it_labels(db, stage: Stage, *jobs: str) -> tuple[str, str, int]:
    """The job that labels, its trainer held with labels safe; the job that waits; the trainer."""
    (trainer,) = wait_until(stage.held)
    (writer,) = [job for job in jobs if job in log_of(trainer)]
    (heir,) = [job for job in jobs if job != writer]
    wait_until(lambda: "labels_awaited" in Told(db, heir).codes())
    return writer, heir, trainer
