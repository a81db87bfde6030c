"""A trainer process as its parent sees it: started, given an order, listened to, ended."""

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from worker import descendants
from worker.lifeline import STOP

log = structlog.get_logger()

# How long a trainer that was killed may take to be gone: one that hangs in the kernel is gone when that lets it.
GONE_SECONDS = 5.0

LAST_WORDS_BYTES = 4_096


@dataclass(frozen=True)
class Order:
    """What a trainer is asked to do; paths are absolute."""

    spec: dict[str, Any]
    out: str
    resume: str | None
    data_folder: str
    label_folder: str
    log: str
    device: str = "auto"
    teacher_file: str | None = None
    label_cache_bytes: int | None = None


class Child:
    """One trainer in a process group of its own. It dies with this process: its stdin is the lifeline.

    Whatever it starts carries its mark, and ends with it.
    """

    def __init__(self) -> None:
        self.ready = threading.Event()  # torch is loaded; an order will be taken at once
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._killed = False
        self._mark = descendants.new_mark()
        self.kin = descendants.Kin(self._mark)
        self._process = subprocess.Popen(
            # -P: a folder named kd or worker where the operator happens to stand is not ours.
            [sys.executable, "-P", "-m", "worker.trainer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
            # No credentials for what runs models: it speaks to us, we speak to the database.
            env={name: value for name, value in os.environ.items() if not name.startswith("STILLHOUSE_")}
            | {descendants.MARK: self._mark},
        )
        try:
            threading.Thread(target=self._listen, daemon=True).start()
        except RuntimeError as error:  # the process has taken the last place that there was
            self.kill()
            raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def hangs(self) -> bool:
        """It was killed, and is still there."""
        return self._killed and self.alive

    def start(self, order: Order) -> None:
        """Hand over the order."""
        self._tell(json.dumps(asdict(order)).encode())

    def ask_to_stop(self) -> None:
        """Let it save where it stands, and end."""
        self._tell(STOP)

    def _tell(self, line: bytes) -> None:
        """A child that died meanwhile shows it by ending its lines."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # ValueError: killed by another thread, and closed
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def next_line(self, timeout_seconds: float) -> bytes | None:
        """The next line it said. Raises `queue.Empty` when it is silent that long; None once it has ended."""
        return self._lines.get(timeout=max(timeout_seconds, 0.001))

    def end_kin(self) -> None:
        """End what it has started. Whoever of them still holds its stdout would keep us listening."""
        descendants.kill(self._mark)

    def kill_after(self, seconds: float) -> None:
        """Let it end by itself for so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        self.kill()

    @property
    def exit_code(self) -> int:
        """Of one that has ended or was killed; negative for the signal that ended it."""
        code = self._process.poll()
        return -signal.SIGKILL if code is None else code  # it hangs in the kernel, and will do nothing more

    def kill(self) -> None:
        """End it and everything it started, now, and wait a little until it is gone."""
        self._killed = True
        if self.alive:  # until we have taken its exit code, nobody else can have its number
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.end_kin()
        try:
            self._process.wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("trainer_hangs_in_the_kernel", pid=self.pid)
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not self.ready.is_set():
                self.ready.set()  # the first line says no more than that
                continue
            self._lines.put(line)
        self._lines.put(None)


def last_words(log: Path) -> str:
    """The end of what a trainer printed."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS_BYTES))
        return file.read().decode(errors="replace")
    return ""


def log_path(folder: Path) -> Path:
    """The file that holds what a trainer printed, in its attempt's folder."""
    return folder / "trainer.log"
