"""The deployment under chaos, what a service manager does for it, and what there is to hit."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from functools import cached_property
from pathlib import Path
from random import Random

import psutil
from sqlalchemy import Engine, select

from jobs.database.engine import UNREACHABLE, Sessions, connect
from jobs.files import layout, retention
from jobs.states import State
from jobs.tables import Job
from tests.chaos.users import SPECS, pack
from tests.support.deployed import Deployment
from tests.support.faults.disk import Disk
from tests.support.processes import Process

# Chaos shall not be what fails a job.
MAX_STALLS = 20
# A program that ends by itself this soon after its start may have found no database: in so many times what it took the
# whole deployment to start here, but in this time at least.
STARTING_TIMES, STARTING_SECONDS = 3, 10.0

Run = subprocess.Popen[bytes]


class World:
    """What runs, and what is meant to run. Used by one thread."""

    def __init__(self, kind: str, folder: Path, workers: int):
        # Trainers get no STILLHOUSE_ variables; this one they inherit, and it tells whose they are.
        self.mark = secrets.token_hex(8)
        settings = {"STILLHOUSE_MAX_STALLS": str(MAX_STALLS), "STILLHOUSE_WEBHOOK_HOSTS": "127.0.0.1"}
        self.deployment = Deployment(kind, folder, settings | {"CHAOS_RUN": self.mark}, with_clocks=True)
        self.specs = dict(SPECS)
        """What users ask for, by name."""
        self.lender = ""
        """The job whose teacher is lent to others."""
        self.workers_wanted = workers
        self.api_wanted = True
        self.data_disk = Disk(self.deployment.data, megabytes=512)
        self.jobs_disk = Disk(self.deployment.data / "jobs", megabytes=256)
        self.damaged: set[str] = set()
        """Files of jobs that were damaged on purpose and not mended, relative to the data folder."""
        self.clocks_were_stepped = False
        self.exits: list[str] = []
        """Of programs that nobody had asked to end."""
        self._asked: set[Run] = set()
        self._started: dict[Run, float] = {}
        self._seen_dead: set[Run] = set()
        self._starting_seconds = STARTING_SECONDS
        self._engine: Engine | None = None

    def start(self) -> None:
        self.packed = pack(self.deployment.data / layout.DATASETS)
        began = time.monotonic()
        self.deployment.start(self.workers_wanted)
        self._starting_seconds = max(STARTING_SECONDS, STARTING_TIMES * (time.monotonic() - began))

    def close(self) -> None:
        """Everything of ours ends, whatever state it is in."""
        try:
            if self._engine is not None:
                self._engine.dispose()
            self.deployment.close()
        finally:
            for process in self.leftovers():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.jobs_disk.unmount()
            self.data_disk.unmount()

    # -- the service manager -------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Start what should run and does not."""
        for process in [self.deployment.api, *self.deployment.workers]:
            self._mind(process)
        if self.api_wanted and not self.deployment.api.alive:
            self.deployment.api.start()
        for _ in range(self.workers_wanted - len(self.workers())):
            self.deployment.add_worker()

    def _mind(self, process: Process) -> None:
        """Note it when a program ended that nobody had asked to."""
        run = process.running
        if run is None or run in self._seen_dead:
            return
        started = self._started.setdefault(run, time.monotonic())
        if process.alive:
            return
        self._seen_dead.add(run)
        lived = time.monotonic() - started
        if run not in self._asked and (lived > self._starting_seconds or run.returncode < 0):
            self.exits.append(f"{process.log.stem} (pid {run.pid}) ended with {run.returncode} after {lived:.0f} s")

    def end(self, process: Process, how: signal.Signals = signal.SIGKILL) -> None:
        """End one of our programs on purpose."""
        assert process.running is not None
        self._asked.add(process.running)
        process.send(how)
        if how == signal.SIGKILL:
            process.wait()

    # -- what there is to hit ------------------------------------------------------------------------------------

    def workers(self) -> list[Process]:
        """Those that are there to stay."""
        return [worker for worker in self.deployment.workers if worker.alive and worker.running not in self._asked]

    def busy_worker(self, dice: Random) -> Process | None:
        found = self._victim(dice)
        return found and found[0]

    def trainer(self, dice: Random) -> psutil.Process | None:
        found = self._victim(dice)
        return found and found[1]

    def evaluating_trainer(self) -> psutil.Process | None:
        """The trainer of a job that is in its last phase, if there is one."""
        with contextlib.suppress(*UNREACHABLE), self.db.read() as session:
            at_its_end = select(Job.lease_owner).where(Job.state == State.RUNNING, Job.phase == "evaluating")
            owners = session.execute(at_its_end).scalars().all()
            for worker in self.workers():
                if any(f":{worker.pid}:" in (owner or "") for owner in owners) and (trainers := worker.trainers()):
                    return min(trainers, key=_born)  # a younger one waits for the next job
        return None

    def _victim(self, dice: Random) -> tuple[Process, psutil.Process] | None:
        """A worker and its trainer; often the oldest, which has the most to lose. Young ones still load torch."""
        busy = [(worker, trainer) for worker in self.workers() for trainer in worker.trainers()]
        if not busy:
            return None
        return min(busy, key=lambda pair: _born(pair[1])) if dice.random() < 0.6 else dice.choice(busy)

    @cached_property
    def db(self) -> Sessions:
        """Our own way to the database, to look on."""
        url = self.deployment.environment.get("STILLHOUSE_DATABASE_URL")
        self._engine = connect(url or f"sqlite:///{self.deployment.data / 'stillhouse.db'}")
        return Sessions(self._engine)

    def newest_resume(self, worker: Process) -> str | None:
        """What the job that the worker has, or had, would go on from."""
        with contextlib.suppress(*UNREACHABLE), self.db.read() as session:
            held = select(Job.id).where(Job.lease_owner.contains(f":{worker.pid}:", autoescape=True))
            if job_id := session.execute(held).scalars().first():
                newest, _ = retention.newest_resume(session, job_id)
                return newest and newest.path
        return None

    def postgres(self) -> list[psutil.Process]:
        """Every process of the database server."""
        with contextlib.suppress(psutil.Error):
            return self.deployment.postgres.processes()
        return []

    def start_database(self) -> None:
        """After a crash it first reads its log; a try that takes too long is no last word."""
        for last in (False, False, True):
            try:
                self.deployment.postgres.start()
                return
            except (subprocess.SubprocessError, AssertionError):
                if last:
                    raise

    # -- afterwards ----------------------------------------------------------------------------------------------

    def leftovers(self, what: str = "") -> list[psutil.Process]:
        """Processes of this run whose command line has this in it; zombies aside."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("CHAOS_RUN") == self.mark and process.pid != os.getpid()
                if ours and process.status() != psutil.STATUS_ZOMBIE and what in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def keep_data(self) -> None:
        """For who looks into a failed run: the mounts are about to go."""
        with contextlib.suppress(shutil.Error):  # of files that went meanwhile; all others are copied
            shutil.copytree(self.deployment.data, self.deployment.folder / "data-kept", dirs_exist_ok=True)


def _born(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.create_time())
    return time.time()
