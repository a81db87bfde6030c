"""What can go wrong. Each fault does its harm, says to whom and for how long, and then repairs it.

A fault that finds no victim ends without a word, and comes again later.
"""

import contextlib
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import psutil
from sqlalchemy import func, select

from jobs import ids
from jobs.database.engine import UNREACHABLE
from jobs.doorbell import celery
from jobs.states import State
from jobs.tables import Job
from tests.chaos.users import Users
from tests.chaos.world import World
from tests.support.deployed import LEASE_SECONDS, BrokerTrouble, Process

ANSWER_SECONDS = 5.0
# A trainer that still loads torch writes nothing yet.
NOTICED_SECONDS = 30.0


class Harm(NamedTuple):
    to: str
    seconds: float
    """Until the fault is asked to go on: to repair what it did."""


Inflict = Callable[[World, Users, Random], Iterator[Harm]]


@dataclass(frozen=True)
class Fault:
    inflict: Inflict
    needs: frozenset[str] = frozenset()
    """Of what there is only one, to hit it or to look into it: two faults do not have it at the same time."""

    @property
    def name(self) -> str:
        return self.inflict.__name__.replace("_", " ")


# -- workers and trainers -----------------------------------------------------------------------------------------


def kill_a_worker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if worker := world.busy_worker(dice):
        world.workers_wanted -= 1
        world.end(worker)
        yield Harm(_named(worker), dice.uniform(0, 3))
        world.workers_wanted += 1


def drain_a_worker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """SIGTERM, as a deploy does; the next one is started at once."""
    if worker := world.busy_worker(dice):
        world.end(worker, signal.SIGTERM)
        yield Harm(_named(worker), 0)


def stop_a_worker_beyond_its_lease(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if worker := world.busy_worker(dice):
        worker.send(signal.SIGSTOP)
        yield Harm(_named(worker), LEASE_SECONDS * dice.uniform(1.2, 2))
        worker.send(signal.SIGCONT)


def kill_a_trainer(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if trainer := world.trainer(dice):
        trainer.kill()
        yield Harm(f"pid {trainer.pid}", 0)


def stop_a_trainer(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if trainer := world.trainer(dice):
        trainer.suspend()
        yield Harm(f"pid {trainer.pid}", dice.uniform(1, 6))
        with contextlib.suppress(psutil.NoSuchProcess):
            trainer.resume()


def damage_the_newest_checkpoint(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Of a job whose worker was just killed: half of the file is gone."""
    worker = world.busy_worker(dice)
    if worker is None or world.newest_resume(worker) is None:
        return
    trainers = worker.trainers()
    world.end(worker)
    for trainer in psutil.wait_procs(trainers, timeout=2)[1]:
        trainer.kill()  # one that was stopped does not notice that its worker is gone
    path = world.newest_resume(worker)
    file = world.deployment.data / (path or "-")
    if path is not None and file.is_file():
        os.truncate(file, file.stat().st_size // 2)
        world.truncated.add(path)
        yield Harm(path, 0)


# -- the API ------------------------------------------------------------------------------------------------------


def kill_the_api(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if not world.deployment.api.alive:
        return
    world.end(world.deployment.api)
    yield from _without_api(world, "", dice.uniform(0, 3))


def stop_the_api(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Wherever it is: perhaps with a transaction open, or in the middle of an answer."""
    if world.deployment.api.alive:
        world.deployment.api.send(signal.SIGSTOP)
        yield Harm("", dice.uniform(1, 8))
        world.deployment.api.send(signal.SIGCONT)


def kill_the_api_after_a_commit(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """As soon as a new job can be seen in the database: its ring and its answer may be on their way, or not."""
    with contextlib.suppress(*UNREACHABLE):
        before = _jobs(world)
        users.hire(1, for_one_job=True)
        give_up = time.monotonic() + ANSWER_SECONDS
        while _jobs(world) == before:
            if time.monotonic() > give_up or not world.deployment.api.alive:
                return
        world.end(world.deployment.api)
        yield from _without_api(world, "", dice.uniform(0, 2))


def kill_the_api_and_a_worker_amid_writes(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """On SQLite the writers are first made to queue up."""
    worker = world.busy_worker(dice)
    if worker is None or not world.deployment.api.alive:
        return
    if world.deployment.kind == "embedded":
        with contextlib.suppress(sqlite3.OperationalError):  # full, or locked by another one
            lock = _lock_sqlite(world)
            time.sleep(0.3)
            lock.close()
    time.sleep(dice.uniform(0, 0.05))
    world.end(world.deployment.api)
    world.end(worker)
    yield from _without_api(world, _named(worker), dice.uniform(0, 2))


def _without_api(world: World, to: str, seconds: float) -> Iterator[Harm]:
    world.api_wanted = False
    yield Harm(to, seconds)
    world.api_wanted = True


def _jobs(world: World) -> int:
    with world.db.read() as session:
        return session.execute(select(func.count()).select_from(Job)).scalar_one()


# -- everything at once -------------------------------------------------------------------------------------------


def cut_the_power(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """All of our processes at once, the database and the broker too; each comes back when it likes."""
    workers, production = world.workers_wanted, world.deployment.kind == "production"
    world.workers_wanted, world.api_wanted = 0, False
    for process in [world.deployment.api, *world.workers()]:
        world.end(process)
    if production:
        world.deployment.kill_database()
        world.deployment.kill_broker()
    yield Harm("", dice.uniform(0, 2))
    world.workers_wanted += workers
    if production:
        yield Harm("", dice.uniform(0, 3))
        world.start_database()
    world.api_wanted = True
    if production:
        yield Harm("", dice.uniform(0, 3))
        world.deployment.start_broker()


# -- the disk -----------------------------------------------------------------------------------------------------


def fill_the_disk(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Until a job has failed of it. Where nothing can be mounted, a trainer may no longer write files."""
    with contextlib.suppress(*UNREACHABLE):
        before = _failed_of_a_full_disk(world)
        trainer = world.trainer(dice)
        if trainer is None:
            return
        if world.jobs_disk.is_own:
            world.jobs_disk.fill()
        else:
            resource.prlimit(trainer.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        give_up = time.monotonic() + NOTICED_SECONDS
        try:
            while _failed_of_a_full_disk(world) == before and time.monotonic() < give_up:
                yield Harm("where jobs write" if world.jobs_disk.is_own else f"for pid {trainer.pid}", 0.2)
        finally:
            world.jobs_disk.free()


def fill_the_disk_of_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """SQLite's, and that of the label tables."""
    if world.data_disk.is_own and world.trainer(dice):
        world.data_disk.fill()
        yield Harm("", dice.uniform(0.5, 6))
        world.data_disk.free()


def _failed_of_a_full_disk(world: World) -> int:
    with world.db.read() as session:
        failed = session.execute(select(Job.error).where(Job.state == State.FAILED)).scalars()
        return sum(error["code"] == "disk_full" for error in failed if error)


# -- the database -------------------------------------------------------------------------------------------------


def hold_the_write_lock(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Of SQLite, for longer than some will wait."""
    with contextlib.suppress(sqlite3.OperationalError):
        lock = _lock_sqlite(world)
        yield Harm("", dice.uniform(1, 8))
        lock.close()


def _lock_sqlite(world: World) -> sqlite3.Connection:
    connection = sqlite3.connect(world.deployment.data / "stillhouse.db", timeout=5, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def kill_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.kill_database()
    yield Harm("", dice.uniform(0, 6))
    world.start_database()


def restart_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """As an administrator does: connections are cut, nothing else is."""
    server, *_ = world.postgres()
    server.send_signal(signal.SIGINT)
    psutil.wait_procs([server], timeout=10)
    yield Harm("", dice.uniform(0, 2))
    world.start_database()


def hang_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """It takes connections, or has them, and answers nothing."""
    for process in world.postgres():
        with contextlib.suppress(psutil.Error):
            process.suspend()
    yield Harm("", dice.uniform(1, 8))
    for process in world.postgres():
        with contextlib.suppress(psutil.Error):
            process.resume()


# -- the broker ---------------------------------------------------------------------------------------------------


def wipe_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.broker.client().flushall()
    yield Harm("", 0)


def kill_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.kill_broker()
    yield Harm("", dice.uniform(0, 6))
    world.deployment.start_broker()


def hang_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.send_broker(signal.SIGSTOP)
    yield Harm("", dice.uniform(1, 10))
    world.deployment.send_broker(signal.SIGCONT)


def spoil_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """It answers with errors."""
    how: BrokerTrouble = dice.choice(["is read-only", "cannot save"])
    world.deployment.spoil_broker(how)
    yield Harm(how, dice.uniform(1, 10))
    world.deployment.mend_broker()


def ring_ten_times(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """For jobs that wait, run, or ended long ago."""
    if found := users.some_ids(dice, 3):
        _ring(world, found * 10)
        yield Harm(", ".join(found), 0)


def ring_for_nobody(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    strangers = [ids.new("job"), "job_nobody", "../../etc/passwd", ""]
    _ring(world, strangers)
    yield Harm("", 0)


def _ring(world: World, job_ids: list[str]) -> None:
    with celery.make_celery(world.deployment.environment["STILLHOUSE_BROKER_URL"]) as app:
        for job_id in job_ids:
            app.send_task(celery.TASK, args=[job_id], ignore_result=True, retry=False)


def _named(worker: Process) -> str:
    return f"{worker.log.stem} (pid {worker.pid})"


API, DATABASE, BROKER, DISK = (frozenset({name}) for name in ("api", "database", "broker", "disk"))

EVERYWHERE = (
    Fault(kill_a_worker),
    Fault(drain_a_worker),
    Fault(stop_a_worker_beyond_its_lease),
    Fault(kill_a_trainer),
    Fault(stop_a_trainer),
    Fault(damage_the_newest_checkpoint, DATABASE),
    Fault(kill_the_api, API),
    Fault(stop_the_api, API | DATABASE),
    Fault(kill_the_api_after_a_commit, API | DATABASE),
    Fault(kill_the_api_and_a_worker_amid_writes, API | DATABASE),
    Fault(cut_the_power, API | DATABASE | BROKER),
    Fault(fill_the_disk, DISK | DATABASE),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    "embedded": (
        *EVERYWHERE,
        Fault(hold_the_write_lock, DATABASE),
        Fault(fill_the_disk_of_the_database, DATABASE | DISK),
    ),
    "production": (
        *EVERYWHERE,
        Fault(kill_the_database, DATABASE),
        Fault(restart_the_database, DATABASE),
        Fault(hang_the_database, DATABASE),
        Fault(wipe_the_broker, BROKER),
        Fault(kill_the_broker, BROKER),
        Fault(hang_the_broker, BROKER),
        Fault(spoil_the_broker, BROKER),
        Fault(ring_ten_times, BROKER),
        Fault(ring_for_nobody, BROKER),
    ),
}


def possible(world: World) -> list[Fault]:
    """Those that this deployment, on this machine, can suffer."""
    return [fault for fault in FAULTS[world.deployment.kind] if fault.name not in spared(world)]


def spared(world: World) -> list[str]:
    """The names of those that would take more of this machine than is ours."""
    needs_a_disk = fill_the_disk_of_the_database
    of_this_kind = any(fault.inflict is needs_a_disk for fault in FAULTS[world.deployment.kind])
    return [Fault(needs_a_disk).name] if of_this_kind and not world.data_disk.is_own else []
