"""A trainer process as its parent sees it: started, given an order, listened to, ended."""

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from kd import events
from kd.events import Event
from kd.machine import child
from worker import descendants

log = structlog.get_logger()

# How long a trainer that was killed may take to be gone: one that hangs in the kernel is gone when that lets it.
GONE_SECONDS = 5.0


@dataclass(frozen=True)
class Order:
    """What a trainer, or a helper, is asked to do; paths are absolute."""

    spec: dict[str, Any]
    out: str
    resume: str | None
    data_folder: str
    label_folder: str
    log: str
    resume_sha256: str | None = None
    teacher_files: list[tuple[str, str]] = field(default_factory=list)
    """Of the teachers that other jobs lend, in the spec's order: the weights, and the digest of what was written."""
    label_cache_bytes: int | None = None
    silence_seconds: float | None = None
    """Without a beat of ours for so long it ends."""
    data_dir: str | None = None
    """Of light work: the folder of all that the service keeps."""


TRAINER, HELPER = "worker.trainer", "worker.light.helper"
"""Whom there is to start: for distillations, for light work."""


class Child:
    """One trainer, or helper, in a process group of its own. It dies with this process, and whatever it starts carries
    its mark and ends with it."""

    def __init__(self, module: str = TRAINER) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._killed = False
        self._mark = descendants.new_mark()
        self.descendants = descendants.Descendants(self._mark)
        self._process = child.start(
            module,
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
        child.tell(self._process, json.dumps(asdict(order)).encode())

    def beat(self) -> None:
        """Say that we are awake."""
        child.beat(self._process)

    def ask_to_stop(self) -> None:
        """Let it save where it stands, and end."""
        child.tell(self._process, child.SAVE)

    def next_event(self, timeout_seconds: float) -> Event | None:
        """What it says next. Raises `queue.Empty` when it is silent that long; None once it has ended."""
        line = self._lines.get(timeout=max(timeout_seconds, 0.001))
        return None if line is None else events.parse(line)

    def end_descendants(self) -> None:
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
        self.end_descendants()
        try:
            self._process.wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("trainer_hangs_in_the_kernel", pid=self.pid)
        child.let_go(self._process)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # not cut off by its death
                self._lines.put(line)
        self._lines.put(None)
