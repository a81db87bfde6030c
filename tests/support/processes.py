"""Our own programs as processes: how a deployment starts each, sends it signals, and looks for its trainers."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.waiting import HANG_SECONDS

SERVE = ["-m", "cli.main", "serve", "--no-worker"]
LOOP = ["-m", "worker.loop"]

# `kd serve` that is killed after the commit of a job and before it rings for it.
SERVE_UNTIL_IT_RINGS = """
import os, signal
from cli.main import app
from jobs.doorbell.notifier import Notifier

Notifier.job_queued = lambda notifier, job_id: os.kill(os.getpid(), signal.SIGKILL)
app()
"""


@dataclass
class Process:
    """One of our own programs; what it says is added to its log."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, *self.command],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    @property
    def alive(self) -> bool:
        return self.running is not None and self.running.poll() is None

    def send(self, what: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, what)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = HANG_SECONDS) -> int:
        """Its exit code."""
        assert self.running is not None
        return self.running.wait(seconds)

    def trainers(self) -> list[psutil.Process]:
        """The trainers that it has started."""
        with contextlib.suppress(psutil.Error):
            return [child for child in psutil.Process(self.pid).children() if _is_trainer(child)]
        return []


def _is_trainer(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "worker.trainer" in process.cmdline()
    return False


def gone(process: psutil.Process) -> bool:
    """Whether it no longer runs (a zombie that nobody has buried yet does not)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
