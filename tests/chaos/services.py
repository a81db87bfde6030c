"""Faults of what a deployment stands on: the database and the broker are killed, stopped, locked, wiped, spoiled."""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from random import Random

import psutil

from jobs import ids
from jobs.doorbell import celery
from tests.chaos.harm import Harm
from tests.chaos.users import Users
from tests.chaos.world import World
from tests.support.servers import BrokerTrouble

# -- the database -------------------------------------------------------------------------------------------------


def hold_the_write_lock(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """Of SQLite, for longer than some will wait."""
    with contextlib.suppress(sqlite3.OperationalError):
        lock = lock_sqlite(world)
        yield Harm("", dice.uniform(1, 8))
        lock.close()


def lock_sqlite(world: World) -> sqlite3.Connection:
    connection = sqlite3.connect(world.deployment.data / "stillhouse.db", timeout=5, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def kill_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.postgres.kill()
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
    world.deployment.broker.wipe()
    yield Harm("", 0)


def kill_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.broker.kill()
    yield Harm("", dice.uniform(0, 6))
    world.deployment.broker.start()


def hang_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    world.deployment.broker.send(signal.SIGSTOP)
    yield Harm("", dice.uniform(1, 10))
    world.deployment.broker.send(signal.SIGCONT)


def spoil_the_broker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """It answers with errors."""
    how: BrokerTrouble = dice.choice(["is read-only", "cannot save"])
    world.deployment.broker.spoil(how)
    yield Harm(how, dice.uniform(1, 10))
    world.deployment.broker.mend()


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
