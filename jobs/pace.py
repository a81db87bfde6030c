"""Work that nobody waits for leaves the database and the disk to others most of the time."""

import threading
import time

REST = 4.0
"""Seconds of rest for each second of work."""


def rest(stop: threading.Event | None, began: float) -> bool:
    """Rest from the work since `began` (`time.monotonic()`). Whether to end, which `stop` says; without it no rest."""
    return stop is not None and stop.wait(REST * (time.monotonic() - began))
