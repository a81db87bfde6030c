"""Faults of disks: they fill up, under the jobs' files or under the database."""

import contextlib
import resource
import time
from collections.abc import Iterator
from random import Random

from sqlalchemy import select

from jobs.database.engine import UNREACHABLE
from jobs.states import State
from jobs.tables import Job
from tests.chaos.harm import Harm
from tests.chaos.users import Users
from tests.chaos.world import World

# A trainer that still loads torch writes nothing yet.
NOTICED_SECONDS = 30.0


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
