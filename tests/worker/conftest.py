"""A worker's parts for tests: small jobs on real digits, a settled data folder, a worker in this process."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy.exc import OperationalError

from jobs.database.engine import Sessions
from jobs.envelope import Envelope
from jobs.job import get_job
from jobs.queue.submit import add_job
from jobs.settings import Settings
from jobs.states import FINAL
from jobs.tables import Job
from kd.spec import GuideSpec, TrainSpec, parse
from tests.support.offers import ENOUGH
from tests.support.trainers import Stage
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.loop import light_work, work
from worker.reserve import Trainers
from worker.worker import Worker

SpecMaker = Callable[..., TrainSpec | GuideSpec]


class Forgetful(Sessions):
    """A database that does what it is told, and whose answer is lost now and then, or comes late."""

    def __init__(self, db: Sessions):
        super().__init__(db.kw["bind"])
        self.lose_answers = 0  # so many of the next ones
        self.answers = threading.Event()  # while it is not set, every answer is held back
        self.answers.set()

    @contextlib.contextmanager
    def begin(self):
        with super().begin() as session:
            yield session
        self.answers.wait(HANG_SECONDS)
        if self.lose_answers:
            self.lose_answers -= 1
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))


@pytest.fixture
def tiny() -> SpecMaker:
    """A job of a few seconds: real digits, small models, a checkpoint ten times a second."""

    def tiny(mode: str = "train", **changes: object) -> TrainSpec | GuideSpec:
        config = {
            "dataset": "digits",
            "teacher": {"arch": "cnn_small", "epochs": 2},
            "student": {"arch": "mlp"},
            "epochs": 6,
            "optimizer": {"lr": 0.05},  # so few epochs want a large one
            "batch_size": 128,
            "checkpoint_seconds": 0.1,
        }
        return parse({"mode": mode, "config": {**config, **changes}})

    return tiny


@pytest.fixture
def long(tiny: SpecMaker) -> SpecMaker:
    """A job that will not finish while a test looks on."""
    return functools.partial(tiny, epochs=10_000, checkpoint_seconds=0.2)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        lease_seconds=3600,  # of a worker that lives, however slow: it lapses where a test says so
        heartbeat_seconds=0.2,
        poll_seconds=0.05,
        retry_seconds=0,  # who crashes is tried again at once, except where a test says so
    )


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Holds every trainer that is started from now on where the test wants it."""
    stage = Stage(tmp_path / "stage")
    monkeypatch.setenv("PYTHONPATH", str(stage.folder))
    return stage


@pytest.fixture
def worker(settings: Settings, db) -> Iterator[Worker]:
    """A worker whose loop runs in a thread of this process; its trainers are real processes."""
    worker = Worker("test-worker", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    thread = threading.Thread(target=work, args=(worker, 0.05, threading.Lock()))
    thread.start()
    yield worker
    worker.stopping.set()
    thread.join(HANG_SECONDS)
    worker.trainers.close()
    assert not thread.is_alive()


@pytest.fixture
def helped(settings: Settings, db) -> Iterator[Worker]:
    """A worker that does its light work, while its slot for distillations is taken."""
    worker = Worker("w1", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    with light_work(worker, poll_seconds=0.05):
        yield worker


@pytest.fixture
def submit(db) -> Callable[..., str]:
    def submit(spec: TrainSpec | GuideSpec, **envelope: object) -> str:
        with db.begin() as session:
            return add_job(session, spec, envelope=Envelope(**envelope)).id

    return submit


@pytest.fixture
def wait_for(db) -> Callable[..., Job]:
    """Wait until the job is final, or until it is as the condition says."""

    def now(job_id: str) -> Job:
        with db.read() as session:
            job = get_job(session, job_id)
            session.expunge(job)
        return job

    def wait_for(job_id: str, condition: Callable[[Job], bool] | None = None) -> Job:
        def there() -> Job | None:
            job = now(job_id)
            if condition(job) if condition else job.state in FINAL:
                return job
            assert job.state not in FINAL, f"{job_id} ended as {job.state} ({job.error}) before that"
            return None

        def but() -> str:
            job = now(job_id)
            return f"what {job_id} was to come to: it is {job.state} in {job.phase}, {job.progress}"

        job = wait_until(there, but)
        assert job is not None
        return job

    return wait_for


@pytest.fixture
def trainers() -> Callable[[], list[psutil.Process]]:
    """The trainers that this process has started and that still live."""

    def trainers() -> list[psutil.Process]:
        found = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "worker.trainer" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found

    return trainers


@pytest.fixture
def forgetful(db) -> Forgetful:
    return Forgetful(db)
