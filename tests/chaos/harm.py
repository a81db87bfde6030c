"""What a fault does. It says whom it harms and for how long, and when it is asked to go on it repairs that.

A fault that finds no victim ends without a word, and comes again later.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from tests.chaos.users import Users
from tests.chaos.world import World


class Harm(NamedTuple):
    to: str
    seconds: float
    """Until the fault is asked to go on: to repair what it did."""


Inflict = Callable[[World, Users, Random], Iterator[Harm]]
