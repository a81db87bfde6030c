"""A whole deployment of real processes, each of which can be killed, stopped, wiped and started again.

`embedded`: SQLite, `kd serve --no-worker`, workers that poll. `production`: PostgreSQL, Valkey, the server and Celery
workers by the compose file's own commands. Both on loopback, in a folder of their own.
"""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psutil
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from client import Client, ClientError
from jobs.database import clock, migrate
from jobs.database.engine import Sessions, connect
from jobs.files import retention
from jobs.job import get_job
from jobs.tables import Job
from tests.support import compose, waiting
from tests.support.faults.clocks import Clock
from tests.support.processes import LOOP, SERVE, SERVE_UNTIL_IT_RINGS, Process
from tests.support.servers import Broker, Database, free_port
from tests.support.trainers import Stage
from tests.support.waiting import HANG_SECONDS

KINDS = ("embedded", "production")

LEASE_SECONDS = 4.0
SECOND = timedelta(seconds=1)
SETTINGS = {
    "STILLHOUSE_LEASE_SECONDS": str(LEASE_SECONDS),
    "STILLHOUSE_HEARTBEAT_SECONDS": "0.4",
    "STILLHOUSE_POLL_SECONDS": "0.1",
    "STILLHOUSE_RETRY_SECONDS": "0",
    "STILLHOUSE_STANDBY": "false",
    "STILLHOUSE_MIN_FREE_BYTES": "0",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}

# A few seconds on real digits, with a checkpoint five times a second.
TINY = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 2},
    "student": {"arch": "mlp"},
    "epochs": 40,
    "batch_size": 128,
    "checkpoint_seconds": 0.2,
}


def wait_until(condition: Callable[[], Any], what: str, seconds: float = HANG_SECONDS) -> Any:
    """What the condition says once it is true; an error meanwhile counts as no."""

    def there() -> Any:
        with contextlib.suppress(ClientError, httpx2.HTTPError, OSError):
            return condition()

    return waiting.wait_until(there, what, seconds)


@dataclass
class Deployment:
    kind: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[Process] = field(default_factory=list)
    with_clocks: bool = False
    """Clocks that can be set: of the machine where there is one, else of each machine that there would be."""

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.port = free_port()
        self.broker = Broker()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = SETTINGS | {"STILLHOUSE_DATA_DIR": str(self.data), "STILLHOUSE_LOG_LEVEL": "INFO"}
        self.clocks: dict[str, Clock] = {}
        """By name; empty without `with_clocks`."""
        self.environment |= self.settings | self._clock_of("api")
        self.stage = Stage(self.folder / "stage")
        serve = [*SERVE, "--port", str(self.port)]
        self._serve = compose.command_of("api", self.port) if self.kind == "production" else serve
        self.api = Process(self._serve, self.environment, self.folder / "api.log")
        self.client = Client(self.url, timeout=30)

    # -- coming and going ----------------------------------------------------------------------------------------

    def start(self, workers: int = 1) -> None:
        if self.kind == "production":
            self._start_servers()
        self.api.start()
        wait_until(self.client.is_ready, "the API is ready")
        for _ in range(workers):
            self.add_worker()

    def _start_servers(self) -> None:
        self.postgres = Database(with_clock=self.with_clocks)
        if self.postgres.clock is not None:
            self.clocks["database"] = self.postgres.clock
        self.broker.start()
        self.environment |= {
            "STILLHOUSE_DATABASE_URL": self.postgres.url,
            "STILLHOUSE_BROKER_URL": self.broker.url,
        }
        migrate.upgrade(self.postgres.url)

    def add_worker(self, **settings: str) -> Process:
        command = compose.command_of("worker") if self.kind == "production" else LOOP
        name = f"worker-{len(self.workers)}"
        on_stage = {"PYTHONPATH": str(self.stage.folder)}
        log = self.folder / f"{name}.log"
        worker = Process(command, self.environment | self._clock_of(name) | on_stage | settings, log)
        worker.start()
        self.workers.append(worker)
        return worker

    def _clock_of(self, name: str) -> dict[str, str]:
        """What a process needs to be started with, to have the clock that it shall."""
        if not self.with_clocks:
            return {}
        name = name if self.kind == "production" else "machine"
        if name not in self.clocks:
            self.clocks[name] = Clock(self.folder, f"clock-{name}")
        return self.clocks[name].environment

    def crew(self, number: int) -> list[Process]:
        """So many living workers: others are killed or added."""
        alive = [worker for worker in self.workers if worker.alive]
        for worker in alive[number:]:
            worker.kill()
        return alive[:number] + [self.add_worker() for _ in range(number - len(alive))]

    def start_api(self, *, dies_before_it_rings: bool = False) -> None:
        """Again, at the same port."""
        arguments = self._serve[self._serve.index("serve") :]
        self.api.command = ["-c", SERVE_UNTIL_IT_RINGS, *arguments] if dies_before_it_rings else self._serve
        self.api.start()
        wait_until(self.client.is_ready, "the API is ready")

    def freeze(self, worker: Process) -> None:
        """SIGSTOP, but not in a transaction: SQLite would be locked for all, a row of PostgreSQL for half a minute."""
        while True:
            worker.send(signal.SIGSTOP)
            time.sleep(0.03)  # what it has just asked of the database is being done
            if not self._database_is_locked():
                return
            worker.send(signal.SIGCONT)
            time.sleep(0.02)

    def _database_is_locked(self) -> bool:
        """By somebody who does not let go at once."""
        give_up = time.monotonic() + 0.3
        while time.monotonic() < give_up:
            if self.kind == "embedded":
                opened = contextlib.closing(sqlite3.connect(self.data / "stillhouse.db", timeout=0.3))
                with contextlib.suppress(sqlite3.OperationalError), opened as database:
                    database.execute("BEGIN IMMEDIATE")
                    return False
            else:
                others = "SELECT count(*) FROM pg_locks WHERE mode LIKE 'Row%' AND pid <> pg_backend_pid()"
                with self.database() as session:
                    if session.execute(text(others)).scalar() == 0:
                        return False
        return True

    def close(self) -> None:
        for process in [*self.workers, self.api]:
            process.send(signal.SIGCONT)
            for trainer in process.trainers() if process.alive else ():
                with contextlib.suppress(psutil.Error):
                    trainer.kill()
            if process.running is not None:
                process.kill()
        self.client.close()
        if self.kind == "production" and hasattr(self, "postgres"):
            self.postgres.close()
            self.broker.kill()

    # -- the database and the broker -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def without_database(self) -> Iterator[None]:
        """PostgreSQL killed, or SQLite locked by somebody who does not let go, while the block lasts."""
        if self.kind == "production":
            self.postgres.kill()
            try:
                yield
            finally:
                self.postgres.start()
            return
        with contextlib.closing(sqlite3.connect(self.data / "stillhouse.db", isolation_level=None)) as database:
            database.execute("PRAGMA busy_timeout = 180000")
            database.execute("BEGIN IMMEDIATE")
            yield

    # -- what there is to see ------------------------------------------------------------------------------------

    def submit(self, mode: str = "train", **changes: Any) -> str:
        return str(self.client.submit(mode, TINY | changes)["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self.client.get(job_id)

    def wait_for(
        self, job_id: str, condition: Callable[[dict[str, Any]], Any], what: str, seconds: float = HANG_SECONDS
    ) -> Any:
        """The job once it is like this."""

        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if condition(job) else None

        return wait_until(there, f"{job_id} {what}", seconds)

    def wait_for_end(self, job_id: str, seconds: float = HANG_SECONDS) -> dict[str, Any]:
        return self.wait_for(job_id, lambda job: job["is_terminal"], "has ended", seconds)  # type: ignore[no-any-return]

    def wait_for_training(self, job_id: str) -> dict[str, Any]:
        """The job in the middle of its student, with a checkpoint of it behind."""

        def under_way(job: dict[str, Any]) -> bool:
            assert not job["is_terminal"], f"it ended before it could be disturbed: {job['error']}"
            return job["phase"] == "student" and (job["progress"]["epoch"] or 0) >= 3

        return self.wait_for(job_id, under_way, "trains its student")  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def database(self) -> Iterator[Session]:
        """A look past the API, at the rows."""
        with self._sessions() as sessions, sessions.read() as session:
            yield session

    @contextlib.contextmanager
    def _sessions(self) -> Iterator[Sessions]:
        url = self.environment.get("STILLHOUSE_DATABASE_URL", f"sqlite:///{self.data / 'stillhouse.db'}")
        engine = connect(url)
        try:
            yield Sessions(engine)
        finally:
            engine.dispose()

    def row(self, job_id: str) -> Job:
        with self.database() as session:
            return get_job(session, job_id)

    def let_lease_lapse(self, job_id: str) -> None:
        """As if its worker, which is dead or asleep, had been silent for as long as the lease is."""
        with self._sessions() as sessions, sessions.begin() as session:
            session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=clock.after(-SECOND)))

    def newest_resume(self, job_id: str) -> Path:
        """The file that the job would go on from; its trainer should sleep."""
        with self.database() as session:
            newest, _ = retention.newest_resume(session, job_id)
        assert newest is not None, f"{job_id} has no checkpoint"
        return self.data / newest.path

    def checkpoints_on_disk(self, job_id: str) -> set[Path]:
        return set((self.data / "jobs" / job_id).rglob("resume.pt"))

    def events(self, job_id: str) -> list[dict[str, Any]]:
        return list(self.client.events(job_id))

    def worker_of(self, job_id: str) -> Process:
        """The process that works on the job."""
        name = self.job(job_id)["worker"]
        assert name, f"nobody works on {job_id}"
        return next(worker for worker in self.workers if worker.alive and f":{worker.pid}:" in name)

    def logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in self.folder.glob("*.log"))


@contextlib.contextmanager
def deployed(kind: str, folder: Path, *, workers: int = 1, **settings: str) -> Iterator[Deployment]:
    """A deployment for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = Deployment(kind, folder, settings)
    try:
        deployment.start(workers)
        yield deployment
    finally:
        deployment.close()
