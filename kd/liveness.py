"""Whether this process gets any further, for whoever minds it. Standard library only.

A run is silent where there is nothing to say: while it evaluates, reads a table, puts images on the device. So every
loop that may take long advances a mark, batch by batch or block by block, and a thread says now and then that the mark
has moved. It says nothing when it has not: a read that hangs, a deadlock, a kernel that never returns are silence. What
this does not see is a loop that goes round and round.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# How often the thread looks.
EVERY_SECONDS = 5.0

_mark = 0


def advance() -> None:
    """Something is done that may have taken a while; of as little as a batch."""
    global _mark
    _mark += 1  # two threads at once may count as one, which is no less of a movement


def mark() -> int:
    """How far it is: larger than before, if anything got further."""
    return _mark


@contextmanager
def reported(say: Callable[[], object]) -> Iterator[None]:
    """While the block lasts, `say` is called every few seconds in a thread, if the mark has moved meanwhile."""
    over = threading.Event()
    thread = threading.Thread(target=_report, args=(say, over), name="liveness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _report(say: Callable[[], object], over: threading.Event) -> None:
    said = mark()
    while not over.wait(EVERY_SECONDS):
        if (now := mark()) != said:
            said = now
            with suppress(OSError, ValueError):  # nobody listens any more
                say()
