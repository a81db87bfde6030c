"""Faults of our own processes: workers, trainers and the API are killed, stopped and sent away, one or all at once."""

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from random import Random

import psutil
from sqlalchemy import func, select

from jobs.database.engine import UNREACHABLE
from jobs.tables import Job
from tests.chaos.harm import Harm
from tests.chaos.services import lock_sqlite
from tests.chaos.users import Users
from tests.chaos.world import World
from tests.support.deployed import LEASE_SECONDS
from tests.support.processes import Process

ANSWER_SECONDS = 5.0


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


def kill_a_trainer_that_evaluates(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """In the middle of it, or when it has just written down what it found."""
    if trainer := world.evaluating_trainer():
        time.sleep(dice.uniform(0, 1))
        if trainer.is_running():
            trainer.kill()
            yield Harm(f"pid {trainer.pid}", 0)


def stop_a_trainer(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if trainer := world.trainer(dice):
        trainer.suspend()
        yield Harm(f"pid {trainer.pid}", dice.uniform(1, 6))
        with contextlib.suppress(psutil.NoSuchProcess):
            trainer.resume()


def damage_the_newest_checkpoint(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Half of the file is gone."""
    if path := resume_of_a_killed_worker(world, dice):
        file = world.deployment.data / path
        os.truncate(file, file.stat().st_size // 2)
        world.damaged.add(path)
        yield Harm(path, 0)


def resume_of_a_killed_worker(world: World, dice: Random) -> str | None:
    """What the job of a worker that is killed for it will go on from."""
    worker = world.busy_worker(dice)
    if worker is None or world.newest_resume(worker) is None:
        return None
    trainers = worker.trainers()
    world.end(worker)
    for trainer in psutil.wait_procs(trainers, timeout=2)[1]:
        trainer.kill()  # one that was stopped does not notice that its worker is gone
    path = world.newest_resume(worker)
    return path if path is not None and (world.deployment.data / path).is_file() else None


def _named(worker: Process) -> str:
    return f"{worker.log.stem} (pid {worker.pid})"


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
            lock = lock_sqlite(world)
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
        world.deployment.postgres.kill()
        world.deployment.broker.kill()
    yield Harm("", dice.uniform(0, 2))
    world.workers_wanted += workers
    if production:
        yield Harm("", dice.uniform(0, 3))
        world.start_database()
    world.api_wanted = True
    if production:
        yield Harm("", dice.uniform(0, 3))
        world.deployment.broker.start()
