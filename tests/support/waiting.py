"""Waiting for a state, never for a second: how long that takes says how busy the machine is, and nothing else."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Ends a test that hangs. Nothing is slow by it: no machine that is only busy comes near.
HANG_SECONDS = 180.0


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str] = "it came to that", seconds: float = HANG_SECONDS
) -> T:
    """What the condition says once it is true; `what` that is, for who reads that it never was."""
    began = time.monotonic()
    while not (found := condition()):
        if (waited := time.monotonic() - began) > seconds:
            raise AssertionError(f"after {seconds:g} s still not: {what() if callable(what) else what}")
        # What took a second may take a moment more: to look a hundred times a second takes a fifth of a core.
        time.sleep(min(0.01 + waited / 20, 0.2))
    return found
