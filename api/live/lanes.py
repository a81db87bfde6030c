"""Threads for what is asked most: few at a time, in the order in which they came.

Many threads that take turns with the interpreter end in any order: of eight that looked at a job at once the slowest
(p99) took two and a half times as long as the middle one; in a lane, less than twice. What may take longer, such as
lists and many jobs at once, has the pool that all other routes share, and is in nobody's way here. Curves, which may
take longest, have a lane too: in that pool many of them at once would have all connections to the database.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")

WIDTH = 4


class Lanes:
    """Lives on the event loop. Writers, which wait for a lock or the disk, do not hold up readers."""

    def __init__(self) -> None:
        self._readers, self._writers = anyio.CapacityLimiter(WIDTH), anyio.CapacityLimiter(WIDTH)
        self._long_readers = anyio.CapacityLimiter(WIDTH)

    async def read(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._readers)

    async def write(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._writers)

    async def read_long(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._long_readers)
