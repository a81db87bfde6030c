"""A real `kd serve` in a process of its own, and a worker's hand to give its jobs a past."""

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from client import Client
from jobs.database.engine import Sessions, connect
from jobs.endings import Ending
from jobs.files import layout
from jobs.files.retention import NewFile
from jobs.queue import leases, recording
from jobs.queue.fence import Claim
from jobs.states import State
from jobs.tables import FileKind
from tests.support.claiming import claim_job
from tests.support.waiting import HANG_SECONDS, wait_until

KD = [sys.executable, "-m", "cli.main"]

FAILURE = {"code": "diverged", "message": "The loss is not finite.", "hint": "Use a smaller rate.", "retryable": False}
RESULT = {
    "metrics": {
        "teacher.test.top1": 0.95, "student.test.top1": 0.93, "control.test.top1": 0.915, "gain": 0.015,
        "teacher.parameters": 135_674, "student.parameters": 4_810,
    },
    "best_checkpoint": None,
    "seconds": {"teacher": 61.0, "labelling": 2.0, "student": 10.0, "control": 9.0},
}  # fmt: skip


@dataclass
class Server:
    """`kd serve`, without a worker unless asked for one. It can be killed and started again at the same port."""

    data: Path
    options: list[str] = field(default_factory=lambda: ["--no-worker"])
    port: int = 0
    files: int | None = None
    """How many it may have open; None: as many as we."""
    command: list[str] = field(default_factory=list)
    """Another way to start it, at `port`."""
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self.out, self.err = self.data.with_suffix(".out"), self.data.with_suffix(".err")
        with open(self.out, "w") as out, open(self.err, "a") as err:
            self.process = subprocess.Popen(
                self.command or [*KD, "serve", "--port", str(self.port), "--data", str(self.data), *self.options],
                stdout=out,
                stderr=err,
                env={
                    **os.environ,
                    "STILLHOUSE_STANDBY": "false",
                    "STILLHOUSE_LOG_LEVEL": "INFO",
                    "OMP_NUM_THREADS": "1",
                    **self.environment,
                },
                preexec_fn=self._limit if self.files else None,
            )
        self.url = self.wait_for(self.out, r"listens on (http://\S+)")[1]
        self.port = int(self.url.rpartition(":")[2])
        own = f"sqlite:///{self.data / 'stillhouse.db'}"
        self.db: Sessions = Sessions(connect(self.environment.get("STILLHOUSE_DATABASE_URL", own)))

    def _limit(self) -> None:
        assert self.files is not None
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    def wait_for(self, file: Path, pattern: str) -> re.Match[str]:
        """Wait until it has said this."""
        found = wait_until(
            lambda: re.search(pattern, file.read_text()),
            lambda: f"it says {pattern}: {file.read_text()} {self.err.read_text()}",
        )
        assert found is not None
        return found

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(by)
        return self.process.wait(HANG_SECONDS)


@dataclass
class Worker:
    """Does to a server's jobs what a worker does, through the same doors."""

    server: Server

    def claim(self, job_id: str) -> Claim:
        with self.server.db.begin() as session:
            return claim_job(session, job_id, worker="w1", ttl=timedelta(hours=1))

    def say(self, claim: Claim, kind: str, **said: Any) -> None:
        with self.server.db.begin() as session:
            recording.record(session, claim, events=[{"type": kind, "data": said}])

    def record(self, claim: Claim, **facts: Any) -> None:
        with self.server.db.begin() as session:
            recording.record(session, claim, **{"events": [], **facts})

    def write(self, claim: Claim, kind: FileKind, name: str, content: bytes, folder: str = "") -> NewFile:
        path = layout.attempt_folder(self.server.data, claim.job_id, claim.attempt) / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        stored = path.relative_to(self.server.data).as_posix()
        return NewFile(kind, name, stored, len(content), hashlib.sha256(content).hexdigest())

    def publish(self, claim: Claim, student: bytes, *, step: int = 1) -> Path:
        """A checkpoint with this student, the best so far; where its file is."""
        file = self.write(claim, FileKind.STUDENT, "student.safetensors", student, f"step-{step}")
        with self.server.db.begin() as session:
            facts = {"phase": "student", "epoch": 1, "best": True, "metrics": {"top1": 0.9}, "fraction": step / 1_000}
            recording.publish(session, claim, step=step, files=[file], **facts)
        return self.server.data / file.path

    def publish_artifact(self, claim: Claim, name: str, content: bytes) -> None:
        file = self.write(claim, FileKind.ARTIFACT, name, content)
        with self.server.db.begin() as session:
            recording.publish_file(session, claim, file)

    def crash(self, claim: Claim, error: dict[str, Any], pause: timedelta) -> None:
        with self.server.db.begin() as session:
            crash = Ending.read(error)
            leases.requeue(session, claim, keep_stall=True, max_stalls=3, first_pause=pause, error=crash)

    def release(self, claim: Claim, state: State, error: dict[str, Any] | None = None, **outcome: Any) -> None:
        with self.server.db.begin() as session:
            leases.release(session, claim, state, error=error and Ending.read(error), **outcome)


def running(data: Path, *options: str) -> Iterator[Server]:
    server = Server(data, list(options))
    server.start()
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that many tests share; leave it alive."""
    yield from running(tmp_path_factory.mktemp("server") / "data", "--no-worker")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill."""
    yield from running(tmp_path / "data", "--no-worker")


@pytest.fixture
def server_with_worker(tmp_path: Path) -> Iterator[Server]:
    yield from running(tmp_path / "data")


@pytest.fixture
def worker(server: Server) -> Worker:
    return Worker(server)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, timeout=HANG_SECONDS) as client:
        yield client
