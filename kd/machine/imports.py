"""Loading large libraries, faster."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unburdened() -> Iterator[None]:
    """Load what stays for good: the garbage collector does not go through it, now or later.

    Of the CPU time that importing torch takes it would have a fifth, and a share of every collection of the run.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
