"""Clocks that can be set: what a process takes for the time of day is stepped while it runs, and nobody else's is.

As an administrator or NTP does it: at once, and without touching the monotonic clock. Works by a small library that is
preloaded, which needs a C compiler; the product has no setting for it, and never hears of it.
"""

import mmap
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


@cache
def compiler() -> str | None:
    """Where there is none, no clock can be stepped; whoever wants to says so."""
    return shutil.which("cc") or shutil.which("gcc")


class Clock:
    """That of every process which is started with its environment."""

    def __init__(self, folder: Path, name: str = "clock"):
        """`folder` must be open to whoever the processes run as."""
        self._file, self._library = folder / name, folder / "clock.so"
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        self._file.chmod(0o644)
        if compiler() and not self._library.exists():
            command = [compiler(), "-O1", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
            subprocess.run(command, check=True, capture_output=True)
            self._library.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """For a process whose clock this is to be."""
        return {"LD_PRELOAD": str(self._library), "STEPPED_CLOCK": str(self._file)} if compiler() else {}

    def step(self, seconds: int) -> None:
        """From now on it is off by so much; 0 sets it right."""
        with open(self._file, "r+b") as file:
            os.pwrite(file.fileno(), struct.pack("q", seconds), 0)
