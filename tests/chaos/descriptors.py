"""Faults of a system that grants no more open files: to the server, to a worker, to a trainer, for some seconds."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from random import Random

import psutil

from tests.chaos.harm import Harm
from tests.chaos.users import Users
from tests.chaos.world import World

HALF_A_REQUEST = b"GET /healthz HTTP/1.1\r\n"


def exhaust_the_files_of_the_api(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """And who comes first keeps what is left: with requests that never end."""
    if not (world.deployment.api.alive and world.deployment.client.is_ready()):
        return  # one that cannot open its first file says so and ends
    with contextlib.ExitStack() as clients:
        for _ in range(dice.randint(0, 20)):
            with contextlib.suppress(OSError):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", world.deployment.port), 1))
                client.sendall(HALF_A_REQUEST)
        yield from _exhaust(psutil.Process(world.deployment.api.pid), dice, seconds=dice.uniform(2, 8))


def exhaust_the_files_of_a_worker(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    """It has a job, and can neither start the trainer of the next one nor open the database anew."""
    if worker := world.busy_worker(dice):
        yield from _exhaust(psutil.Process(worker.pid), dice, seconds=dice.uniform(2, 12))


def exhaust_the_files_of_a_trainer(world: World, users: Users, dice: Random) -> Iterator[Harm]:
    if trainer := world.trainer(dice):
        yield from _exhaust(trainer, dice, seconds=dice.uniform(1, 6))


def _exhaust(process: psutil.Process, dice: Random, seconds: float) -> Iterator[Harm]:
    with contextlib.suppress(psutil.NoSuchProcess):
        before, more = process.rlimit(resource.RLIMIT_NOFILE), dice.randint(0, 3)
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + more, before[1]))
        yield Harm(f"pid {process.pid}, {more} more", seconds)
        process.rlimit(resource.RLIMIT_NOFILE, before)
