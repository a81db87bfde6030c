"""When things go wrong: first each kind of fault once, in random order, then any of them, every few seconds."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import Fault, possible
from tests.chaos.harm import Harm
from tests.chaos.users import Users
from tests.chaos.world import World

PAUSE_SECONDS = (0.5, 5.0)


@dataclass
class Underway:
    fault: Fault
    rest: Iterator[Harm]
    due: float


class Storm:
    def __init__(self, world: World, users: Users, dice: Random, say: Callable[[str], None], only: str = ""):
        self._possible = possible(world, only)
        self.injected: Counter[str] = Counter({fault.name: 0 for fault in self._possible})
        self._world, self._users, self._dice, self._say = world, users, dice, say
        self._underway: list[Underway] = []
        self._deck = list(self._possible)
        dice.shuffle(self._deck)

    def blow(self, seconds: float) -> None:
        """For so long; then everything is repaired."""
        end = time.monotonic() + seconds
        next_fault = 0.0
        try:
            while (now := time.monotonic()) < end:
                self._world.tend()
                self._repair(now)
                if now >= next_fault and self._strike():
                    next_fault = time.monotonic() + self._dice.uniform(*PAUSE_SECONDS)
                time.sleep(0.02)
        finally:
            while self._underway:
                self._repair(float("inf"))
                time.sleep(0.1)  # for one that waits for something
            self._world.tend()

    def _strike(self) -> bool:
        """One more fault; False if the one that came up has no victim at the moment."""
        taken = frozenset[str]().union(*(underway.fault.needs for underway in self._underway))
        open_to_us = [fault for fault in self._deck or self._possible if not fault.needs & taken]
        if not open_to_us:
            return False
        fault = self._dice.choice(open_to_us)
        rest = fault.inflict(self._world, self._users, self._dice)
        began = time.monotonic()
        harm = next(rest, None)
        if harm is None:
            return False
        self.injected[fault.name] += 1
        with contextlib.suppress(ValueError):
            self._deck.remove(fault)
        self._say(f"{fault.name}{f': {harm.to}' if harm.to else ''}{_for(harm.seconds)}")
        self._underway.append(Underway(fault, rest, began + harm.seconds))
        return True

    def _repair(self, now: float) -> None:
        for underway in [each for each in self._underway if each.due <= now]:
            more = next(underway.rest, None)
            if more is None:
                self._underway.remove(underway)
            else:
                underway.due = time.monotonic() + more.seconds


def _for(seconds: float) -> str:
    return f", {seconds:.1f} s" if seconds else ""
