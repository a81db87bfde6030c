"""Faults of clocks: one is set an hour ahead or back, and some seconds later set right."""

from collections.abc import Iterator
from random import Random

from tests.chaos.harm import Harm
from tests.chaos.users import Users
from tests.chaos.world import World

# No lease that settings allow is longer than the shorter step.
STEP_SECONDS = (3_660, 7_200)


def step_the_clock_of_the_machine(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """With SQLite there is only one: of the server, of all workers, and so of the database."""
    yield from _step(world, "machine", dice)


def step_the_clock_of_the_database(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    yield from _step(world, "database", dice)


def step_the_clock_of_the_api(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    yield from _step(world, "api", dice)


def step_the_clock_of_a_worker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if worker := world.busy_worker(dice):
        yield from _step(world, worker.log.stem, dice)


def _step(world: World, name: str, dice: Random) -> Iterator[Harm]:
    seconds = dice.choice((-1, 1)) * dice.randint(*STEP_SECONDS)
    world.deployment.clocks[name].step(seconds)
    world.clocks_were_stepped = True
    yield Harm(f"{name}, {seconds:+} s", dice.uniform(3, 12))
    world.deployment.clocks[name].step(0)
