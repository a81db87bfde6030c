"""A trainer, or the worker that minds it, is stopped for longer than a lease, in a phase of its run that is wanted."""

import contextlib
import time
from collections.abc import Iterator
from random import Random

import psutil

from tests.chaos.harm import Harm, Inflict
from tests.chaos.users import Users
from tests.chaos.world import World
from tests.support.deployed import LEASE_SECONDS
from tests.support.trainers import SHOWS_HOW_IT_LABELS, WRITES_A_CHECKPOINT

# What a trainer says in the middle of a phase: there it is held until it has been stopped. When it shows how it labels
# it has the table's lock.
PHASES = {
    "training of a teacher": '"event":"step","phase":"teacher"',
    "labelling": SHOWS_HOW_IT_LABELS,
    "training of a student": '"event":"step","phase":"student"',
    "evaluation": '"event":"phase","phase":"evaluating"',
    "writing of a checkpoint": WRITES_A_CHECKPOINT,
}
COMES_WITHIN_SECONDS = 4.0


def stop_amid(phase: str) -> Inflict:
    def inflict(world: World, users: Users, dice: Random) -> Iterator[Harm]:
        stage = world.deployment.stage
        stage.close_gate(PHASES[phase])
        try:
            victim = _one_that_comes(world, dice)
            if victim is None:
                return
            victim.suspend()
        except psutil.NoSuchProcess:
            return
        finally:
            stage.open_gate(PHASES[phase])
        yield Harm(f"pid {victim.pid} ({victim.name()})", LEASE_SECONDS * dice.uniform(1.2, 2))
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.resume()

    inflict.__name__ = f"stop_amid_the_{phase.replace(' ', '_')}"
    return inflict


def _one_that_comes(world: World, dice: Random) -> psutil.Process | None:
    """A trainer that has come to the gate in time, or its worker."""
    give_up = time.monotonic() + COMES_WITHIN_SECONDS
    while not (held := world.deployment.stage.held()):
        if time.monotonic() > give_up:
            return None
        time.sleep(0.05)
    trainer = psutil.Process(held[0])
    minded_by = {worker.pid for worker in world.workers()}
    return psutil.Process(trainer.ppid()) if trainer.ppid() in minded_by and dice.random() < 0.5 else trainer
