"""Everything that a trainer has started, wherever it went: found by a mark in the environment that they inherit.

A process group is not enough: torchrun starts its processes in sessions of their own. Nor is the tree of parents: when
a trainer crashes, what it has started gets another parent.
"""

import os
import secrets
import time
from contextlib import suppress

import psutil

from kd.machine import cgroups

MARK = "TRAINER_MARK"

# Whoever is being killed may still start others.
ROUNDS, ROUND_SECONDS = 100, 0.02
LOOK_SECONDS = 5.0


def new_mark() -> str:
    """A mark for one trainer; put it into its environment under `MARK`."""
    return secrets.token_hex(16)


def of(mark: str) -> list[psutil.Process]:
    """The processes with this mark that live, this one excepted."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _has(process, mark)]


def kill(mark: str) -> None:
    """End all of them, now, and wait a little until they are gone."""
    for _ in range(ROUNDS):
        there = of(mark)
        if not there:
            return
        for process in there:
            with suppress(psutil.Error):
                process.kill()  # never another process of the same number: psutil compares when they were started
        # Not `psutil.wait_procs`: it would take the exit code of a child of ours from who waits for it.
        time.sleep(ROUND_SECONDS)


class Descendants:
    """The processes of one trainer, looked up anew every few seconds: that takes a look at every process there is."""

    def __init__(self, mark: str):
        self._mark = mark
        self._known: list[psutil.Process] = []
        self._look_again_at = 0.0

    def memory_bytes(self, *, doubt_beyond: int) -> int:
        """What they take of the machine's memory: not the pages of files, which it can have back at any time.

        Pages that several of them share count for each of them, unless that makes more than `doubt_beyond`: to count
        them once, the kernel has to walk through all pages.
        """
        if time.monotonic() >= self._look_again_at:
            self._known, self._look_again_at = of(self._mark), time.monotonic() + LOOK_SECONDS
        used = sum(_memory_bytes(process.pid) for process in self._known)
        if used > doubt_beyond and len(self._known) > 1:
            return sum(_share_bytes(process.pid) for process in self._known)
        return used


def _has(process: psutil.Process, mark: str) -> bool:
    with suppress(psutil.Error, OSError):
        return bool(process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _share_bytes(pid: int) -> int:
    with suppress(OSError, KeyError):
        numbers = cgroups.numbers(cgroups.PROC / str(pid) / "smaps_rollup")
        return numbers["Pss_Anon"] + numbers["Pss_Shmem"] + numbers["SwapPss"]
    return _memory_bytes(pid)  # an older kernel


def _memory_bytes(pid: int) -> int:
    with suppress(OSError):
        numbers = cgroups.numbers(cgroups.PROC / str(pid) / "status")
        return sum(numbers.get(kind, 0) for kind in ("RssAnon", "RssShmem", "VmSwap"))
    return 0
