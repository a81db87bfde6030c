"""Trainer processes as their parent sees them: started, given an order, listened to, ended."""

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from worker import kin
from worker.lifeline import STOP

log = structlog.get_logger()

# A reserve that dies at once (torch cannot be loaded, say) is not started again sooner than this.
RESERVE_EVERY_SECONDS = 5.0
# How long a trainer that was killed may take to be gone: one that hangs in the kernel is gone when that lets it.
GONE_SECONDS = 5.0
# After no trainer could be started, for so long no job is taken that would need one.
NO_TRAINER_SECONDS = 15.0
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
        self._mark = kin.new_mark()
        self.kin = kin.Kin(self._mark)
        self._process = subprocess.Popen(
            # -P: a folder named kd or worker where the operator happens to stand is not ours.
            [sys.executable, "-P", "-m", "worker.trainer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
            # No credentials for what runs models: it speaks to us, we speak to the database.
            env={name: value for name, value in os.environ.items() if not name.startswith("STILLHOUSE_")}
            | {kin.MARK: self._mark},
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
        kin.kill(self._mark)

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


class Trainers:
    """Where the supervisor gets its trainers: a warm one if there is one in reserve, else a new one."""

    def __init__(self, *, keep_one_warm: bool):
        self._keep_one_warm = keep_one_warm
        self._reserve: Child | None = None
        self._taken: Child | None = None  # the last one
        self._failure: str | None = None  # why the last one could not be started
        self._failed_at = 0.0
        self._next_reserve = 0.0
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Start a reserve if there is none. Loading torch takes seconds of a core: call it when there is no work."""
        with self._lock:
            if not self._keep_one_warm or (self._reserve is not None and self._reserve.alive):
                return
            if time.monotonic() < self._next_reserve:
                return
            self._next_reserve = time.monotonic() + RESERVE_EVERY_SECONDS
            try:
                self._reserve = Child()
            except OSError as error:  # no process to be had; a job will say so if it is still so then
                log.warning("no_standby_trainer", error=str(error))

    def take(self) -> Child:
        """A trainer for a job. Raises OSError if none can be started."""
        with self._lock:
            reserve, self._reserve = self._reserve, None
            if reserve is None or not reserve.alive:
                reserve = Child()
            else:
                self._next_reserve = 0.0  # it was good, so the next one may follow at once
            self._taken, self._failure = reserve, None
            return reserve

    def fail(self, error: OSError) -> None:
        """A trainer, or what it takes to mind one, could not be had."""
        self._failed_at, self._failure = time.monotonic(), error.strerror or str(error)

    @property
    def trouble(self) -> str | None:
        """Why no job should be taken now, in a sentence; to be asked between jobs."""
        if self._failure is not None and time.monotonic() - self._failed_at < NO_TRAINER_SECONDS:
            return f"No trainer can be started: {self._failure}. The machine is out of processes or memory."
        if self._taken is not None and self._taken.hangs:
            return f"A trainer that was killed (process {self._taken.pid}) hangs in a call to the kernel."
        return None

    def close(self) -> None:
        with self._lock:
            reserve, self._reserve = self._reserve, None
        if reserve is not None:
            reserve.kill()


def last_words(log: Path) -> str:
    """The end of what a trainer printed."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS_BYTES))
        return file.read().decode(errors="replace")
    return ""


def log_path(folder: Path) -> Path:
    """The file that holds what a trainer printed, in its attempt's folder."""
    return folder / "trainer.log"
