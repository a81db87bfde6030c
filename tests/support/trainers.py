"""The trainers of a test, found; and where it wants them: held before they say something, or killed there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.waiting import wait_until

# Every Python that has its folder on PYTHONPATH runs this first. What it does to trainers is up to the files beside it:
# a gate holds all who come to it until it is gone, a trap works once.
SITE = """
import io, os, pathlib, signal, sys, time

HERE = pathlib.Path(__file__).parent


def is_closed(gate, line):
    try:
        return gate.read_text() in line
    except OSError:
        return False


def wait_at_gates(line):
    held, may_pass = HERE / f"{os.getpid()}.held", HERE / f"{os.getpid()}.pass"
    while any(is_closed(gate, line) for gate in HERE.glob("*.gate")):
        held.touch()
        if may_pass.exists():
            held.unlink()
            may_pass.unlink()
            return
        time.sleep(0.01)
    held.unlink(missing_ok=True)


def spring(where):
    try:
        armed = (HERE / "trap").read_text() == where
        if armed:
            os.rename(HERE / "trap", HERE / "sprung")
    except OSError:
        return False
    return armed


class Voice(io.TextIOWrapper):
    def write(self, text):
        line = text.replace('": "', '":"')
        if '"event":"finished"' in line and spring("before its last word"):
            os.kill(os.getpid(), signal.SIGKILL)
        wait_at_gates(line)
        return super().write(text)


def fsync(descriptor):
    if ".resume.pt." in os.readlink(f"/proc/self/fd/{descriptor}"):
        if spring("in a checkpoint"):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        wait_at_gates("(a checkpoint is being written)")
    write_to_disk(descriptor)


def fdopen(descriptor, mode="r", *more, **named):
    if mode != "w":
        return open_descriptor(descriptor, mode, *more, **named)
    return Voice(open(descriptor, "wb"), encoding="utf-8", line_buffering=True)


if {"worker.trainer", "worker.light.helper"} & set(sys.orig_argv):
    write_to_disk, open_descriptor = os.fsync, os.fdopen
    os.fsync, os.fdopen = fsync, fdopen
    if seconds := os.environ.get("LABELS_ARE_KEPT_EVERY_SECONDS"):
        from kd.labels import progress

        progress.CHUNK_SECONDS = float(seconds)
    if seconds := os.environ.get("IMAGES_ARE_KEPT_EVERY_SECONDS"):
        from kd.data import drafts

        drafts.KEEP_SECONDS = float(seconds)
    if seconds := os.environ.get("PROGRESS_IS_SAID_EVERY_SECONDS"):
        from kd import liveness

        liveness.EVERY_SECONDS = float(seconds)
"""

# Words of a line that a trainer says, to close a gate before it.
READY = '"event":"ready"'
FINISHED = '"event":"finished"'
MADE_SAFE = '"event":"made_safe"'
WRITES_A_CHECKPOINT = "(a checkpoint is being written)"
"""Which it does not say: it is held with the file open, all of it written and nothing of it safe."""
MIDWAY = '"epoch":4,"split":"validation"'
"""In the student's training, where it has six epochs and the teacher fewer than four."""
SHOWS_HOW_IT_LABELS = '"event":"step","phase":"labelling"'


@dataclass(frozen=True)
class Stage:
    """The folder that all trainers of a test have on PYTHONPATH."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "sitecustomize.py").write_text(SITE)

    def close_gate(self, words: str) -> None:
        """From now on trainers wait before they say a line with these words in it."""
        draft = self._gate(words).with_suffix(".draft")
        draft.write_text(words)
        draft.rename(self._gate(words))

    def open_gate(self, words: str) -> None:
        self._gate(words).unlink()

    def let_pass(self, pid: int) -> None:
        """One trainer, one line."""
        passing = self.folder / f"{pid}.pass"
        passing.touch()
        wait_until(lambda: not passing.exists(), f"{pid} has passed")

    def _gate(self, words: str) -> Path:
        return self.folder / f"{words.encode().hex()}.gate"

    def held(self) -> list[int]:
        """The trainers that wait at a gate."""
        pids = [int(file.stem) for file in self.folder.glob("*.held")]
        return [pid for pid in pids if _is_a_trainer(pid)]

    def set_trap(self, where: Literal["in a checkpoint", "before its last word"]) -> None:
        """The next trainer that comes there is killed: halfway through a resume file, or before it says `finished`."""
        (self.folder / "sprung").unlink(missing_ok=True)
        draft = self.folder / "trap.draft"
        draft.write_text(where)
        draft.rename(self.folder / "trap")

    @property
    def trap_has_sprung(self) -> bool:
        return (self.folder / "sprung").exists()


CHILDREN = (b"worker.trainer", b"worker.light.helper")


def _is_a_trainer(pid: int) -> bool:
    """One that still runs: a zombie has no command line."""
    try:
        return any(
            each in Path(f"/proc/{pid}/cmdline").read_bytes() for each in (b"worker.trainer", b"worker.light.helper")
        )
    except OSError:
        return False


def trainers_of(pid: int) -> list[int]:
    """The trainer processes that the process `pid` has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent, state = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[1::-1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and state != "Z" and b"worker.trainer" in command:
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(") ", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def log_of(pid: int) -> str:
    """Where what a trainer prints goes, which names its job and attempt."""
    return os.readlink(f"/proc/{pid}/fd/1")
