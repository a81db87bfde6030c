"""How soon does a worker hear of a job, of a cancel, of its own end, and of the death of another one?

Every figure is of real processes: `kd serve --no-worker` and workers that poll (embedded) or are rung by Celery
(production). The settings are the defaults, but for a lease of 6 s, not 30, and no warm standby.

queued -> claimed   From `created_at` to the `claimed` event, by the database's clock, one job after another at a worker
                    that has been idle for a while, or that has just ended its last job. They cost no training: their
                    teacher's weights are gone, so the worker gives them up.
cancel -> gone      From the request until the trainer's process is no more, at any moment between two heartbeats, which
                    are 2 s apart.
kill -9 -> claimed  From the kill of a worker in training until an idle one has its job. The lease was renewed at most
                    2 s ago, so it lapses 4 to 6 s after the kill.
SIGTERM -> gone     From the signal to a worker in training until its process has ended and its job is queued again.
"""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import psutil
from clients import p50_and_p99
from servers import Environment, server, site, worker

from client import Client
from jobs.database.engine import Sessions, connect
from jobs.workers import roster

T = TypeVar("T")

LEASE_SECONDS = 6.0
TINY = {
    "dataset": "digits",
    "teacher": {"arch": "mlp", "epochs": 1},
    "student": {"arch": "mlp"},
    "epochs": 1,
    "control": False,
}
# Trains for longer than anybody looks.
LONG = TINY | {"epochs": 5_000, "checkpoint_seconds": 1.0}

# How long a worker has had nothing to do, at any moment between two looks.
IDLE_SECONDS = (0.3, 0.6)
BACK_SECONDS = (0.02, 0.3)

Started = subprocess.Popen[bytes]


def measure(kind: str, starts: int, repeats: int) -> None:
    with site(kind) as here:
        settings = {"STILLHOUSE_LEASE_SECONDS": str(LEASE_SECONDS), "STILLHOUSE_STANDBY": "false"}
        environment = here.add("recovery") | settings
        with server(environment, "--no-worker") as url, Client(url) as client, contextlib.ExitStack() as running:
            bench = Bench(kind, environment, client, running)
            bench.add_worker()
            bench.lose_the_teacher()
            target = "50" if kind == "production" else "500"
            for what, pause in (("idle", IDLE_SECONDS), ("just back from a job", BACK_SECONDS)):
                p50, p99 = p50_and_p99(bench.claims(starts, pause))
                print(
                    f"{kind}: queued -> claimed, worker {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms "
                    f"({starts} jobs; target {target} ms)",
                    flush=True,
                )
            show(f"{kind}: cancel -> trainer gone", bench.cancels(repeats), "3 s")
            show(f"{kind}: kill -9 -> claimed again", bench.kills(repeats), f"{LEASE_SECONDS + 2:g} s, the lease + 2 s")
            show(f"{kind}: SIGTERM -> worker gone, job queued", bench.drains(repeats), "10 s")


def show(what: str, seconds: list[float], target: str) -> None:
    print(
        f"{what}: median {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} times; "
        f"target {target})",
        flush=True,
    )


class Bench:
    """A server, and the workers that come and go."""

    def __init__(self, kind: str, environment: Environment, client: Client, running: contextlib.ExitStack):
        self.kind, self.environment, self.client, self.running = kind, environment, client, running
        self.db = Sessions(connect(environment["STILLHOUSE_DATABASE_URL"]))
        self.workers: list[Started] = []
        self.teacher = ""

    def add_worker(self) -> None:
        """Another worker, once it is listed: from then on it takes jobs."""
        added = self.running.enter_context(worker(self.kind, self.environment))
        until("the worker is listed", lambda: added.pid in self._listed())
        self.workers.append(added)

    def _listed(self) -> list[int]:
        with self.db.read() as session:
            return [one.pid for one in roster.all_now(session)]

    # -- the figures ---------------------------------------------------------------------------------------------

    def lose_the_teacher(self) -> None:
        """Train one, and delete its weights behind the server's back."""
        job = self.client.wait(self._submit(TINY), timeout=120)
        assert job["status"] == "succeeded", job["error"]
        for weights in Path(self.environment["STILLHOUSE_DATA_DIR"]).rglob("teacher.safetensors"):
            weights.unlink()
        self.teacher = job["id"]

    def claims(self, count: int, pause_seconds: tuple[float, float]) -> list[float]:
        """Seconds from queued to claimed, one job after another."""
        waits = []
        for _ in range(count):
            time.sleep(random.uniform(*pause_seconds))
            job_id = self._submit(TINY | {"teacher": {"job": self.teacher}})
            job = self.client.wait(job_id, timeout=30, poll=0.02)
            claimed = next(event for event in self.client.events(job_id) if event["type"] == "claimed")
            waits.append((_time(claimed["at"]) - _time(job["created_at"])).total_seconds())
        return waits

    def cancels(self, count: int) -> list[float]:
        return [self._seconds_of_a_cancel() for _ in range(count)]

    def _seconds_of_a_cancel(self) -> float:
        job_id, _, trainer = self._training()
        time.sleep(random.uniform(0, 2))  # at any moment between two heartbeats
        began = time.monotonic()
        self.client.cancel(job_id)
        until("the trainer is gone", lambda: _is_gone(trainer))
        seconds = time.monotonic() - began
        self._has_ended(job_id, "cancelled")
        return seconds

    def kills(self, count: int) -> list[float]:
        self.add_worker()  # the one that takes over
        return [self._seconds_of_a_kill() for _ in range(count)]

    def _seconds_of_a_kill(self) -> float:
        job_id, victim, _ = self._training()
        time.sleep(random.uniform(0, 2))
        began = time.monotonic()
        victim.kill()
        until("somebody else has the job", lambda: self._attempt(job_id) == 2)
        seconds = time.monotonic() - began
        self.workers.remove(victim)
        self.add_worker()
        self.client.cancel(job_id)
        self._has_ended(job_id, "cancelled")
        return seconds

    def drains(self, count: int) -> list[float]:
        while len(self.workers) > 1:  # nobody takes over here: the job is seen in the queue
            self._stop(self.workers.pop())
        return [self._seconds_of_a_drain() for _ in range(count)]

    def _seconds_of_a_drain(self) -> float:
        job_id, victim, _ = self._training()
        began = time.monotonic()
        self._stop(victim)
        job = self.client.get(job_id)
        seconds = time.monotonic() - began
        assert job["status"] == "queued", job
        self.client.cancel(job_id)
        self.workers.remove(victim)
        self.add_worker()
        return seconds

    # -- what they are made of -----------------------------------------------------------------------------------

    def _submit(self, config: dict[str, Any]) -> str:
        return str(self.client.submit("train", config)["id"])

    def _training(self) -> tuple[str, Started, psutil.Process]:
        """A job in the middle of its student, its worker, and its trainer."""
        job_id = self._submit(LONG)
        job = until("it trains", lambda: self._in_its_student(job_id))
        at_work = next(one for one in self.workers if f":{one.pid}:" in job["worker"])
        return job_id, at_work, _trainer_of(at_work)

    def _in_its_student(self, job_id: str) -> dict[str, Any] | None:
        job = self.client.get(job_id)
        assert not job["is_terminal"], job["error"]
        return job if job["phase"] == "student" and (job["progress"]["epoch"] or 0) >= 2 else None

    def _attempt(self, job_id: str) -> int:
        return int(self.client.get(job_id)["attempt"])

    def _has_ended(self, job_id: str, status: str) -> None:
        job = self.client.wait(job_id, timeout=60, poll=0.05)
        assert job["status"] == status, job

    def _stop(self, process: Started) -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until(what: str, condition: Callable[[], T | None], seconds: float = 60) -> T:
    """What the condition says once it is true."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"after {seconds:g} s still not: {what}"
        time.sleep(0.01)
    return found


def _trainer_of(process: Started) -> psutil.Process:
    children = psutil.Process(process.pid).children(recursive=True)
    return next(child for child in children if "worker.trainer" in child.cmdline())


def _is_gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
