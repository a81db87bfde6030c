"""Who may write, or remove, what several want to: a lock beside it, of one process at a time, and of none that died."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether we hold the lock of what is at this path, until the end of the block. It goes when its holder dies."""
    while True:
        with open(path.with_suffix(LOCK), "a") as lock:
            mine = _hold(lock)
            # Who held it before us may have deleted the file after we opened it; then the lock is another file.
            if mine and not _is_there(lock):
                continue
            yield mine
            return


def is_held(path: Path) -> bool:
    """Whether somebody holds this lock. Those who ask do not get into each other's way."""
    try:
        with open(path, "rb") as lock:
            return not _hold(lock, shared=True)
    except FileNotFoundError:
        return False


def _hold(lock: IO[Any], *, shared: bool = False) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _is_there(lock: IO[Any]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
    return False
