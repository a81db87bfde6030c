"""The protocol between a process of ours and a child that it has work for. Standard library only.

The child reads its order from stdin and says on stdout what happens, both as JSON, a line each. Its stdin is a lifeline
as well: a line `save` asks it to save where it stands, and however its parent ends, kill -9 included, the kernel closes
the pipe, and the child ends too. A parent that only sleeps closes nothing: a child that was told to expect lines `beat`
ends when none has come for too long, whatever it is doing, for somebody else may need what it holds.
"""

import contextlib
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

SAVE = b"save"
BEAT = b"beat"
# How often a child looks whether it has been silent for too long.
LOOK_SECONDS = 0.5


# -- the parent's side ---------------------------------------------------------------------------------------------


def start(
    module: str, *arguments: str, listen: bool = True, own_group: bool = True, env: Mapping[str, str] = os.environ
) -> subprocess.Popen[bytes]:
    """Run a module of ours as a child. `listen`: its stdout is for the parent to read; `own_group`: Ctrl-C at the
    parent's terminal is not for the child. Raises OSError if there is no process to be had."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if listen else None,
        process_group=0 if own_group else None,
        # A folder named kd or worker where the caller happens to stand is not ours, nor for what the child starts.
        env={**env, "PYTHONSAFEPATH": "1"},
    )


def tell(child: subprocess.Popen[bytes], line: bytes) -> None:
    """Write a line to its stdin. One that died meanwhile shows it by ending its own lines."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError, ValueError):  # ValueError: another thread has let go of it
        child.stdin.write(line + b"\n")
        child.stdin.flush()


def beat(child: subprocess.Popen[bytes]) -> None:
    """Say that we are there; not to a child that does not read: it sleeps, and has no need of more."""
    assert child.stdin is not None
    with contextlib.suppress(ValueError):  # another thread has let go of it
        if select.select((), (child.stdin,), (), 0)[1]:
            tell(child, BEAT)


def let_go(child: subprocess.Popen[bytes]) -> None:
    """End its lifeline."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()


# -- the child's side ----------------------------------------------------------------------------------------------


def take_stdout() -> IO[str]:
    """Our stdout, for messages and nothing else: what libraries print goes to stderr from now on."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return messages


class Lifeline:
    """Our stdin, minded in a thread from the first moment on: to load torch takes seconds, in which a parent can die.

    Where several processes have the same stdin, one of them may read it (`reads`), and all of them see its end.
    """

    def __init__(self, at_end: Callable[[], object] | None = None, *, reads: bool = True, descriptor: int = 0):
        self.save_now = threading.Event()
        """Set once the parent wants us to save."""
        self.at_end = at_end or (lambda: os._exit(0))
        """What to do when the parent is gone."""
        self._orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._silence_seconds: float | None = None
        self._voice = threading.Lock()
        mind = self._read if reads else self._watch
        threading.Thread(target=mind, args=(descriptor,), name="lifeline", daemon=True).start()

    def expect_beats(self, silence_seconds: float) -> None:
        """From now on, a parent that is silent for so long is taken for one that is gone."""
        self._silence_seconds = silence_seconds

    def order(self) -> bytes:
        """The order, once it is there."""
        return self._orders.get()

    def say(self, messages: IO[str], line: str) -> None:
        """A line to the parent, whole, whichever thread says it. That it is gone may show here first; before anything
        ends us for it, what is to be done at its end is done."""
        try:
            with self._voice:
                print(line, file=messages, flush=True)
        except BrokenPipeError:
            self.at_end()
            raise

    def _read(self, descriptor: int) -> None:
        # Straight from the descriptor: a buffer that the interpreter closes at its end must not be waited on.
        there, rest, heard_at = select.poll(), b"", time.monotonic()
        there.register(descriptor, select.POLLIN)
        while True:
            if not there.poll(LOOK_SECONDS * 1_000):
                silent = time.monotonic() - heard_at
                # We may have slept ourselves: what came meanwhile lies in the pipe.
                if self._silence_seconds is not None and silent > self._silence_seconds and not there.poll(0):
                    break
                continue
            more = os.read(descriptor, 65_536)
            if not more:
                break
            heard_at = time.monotonic()
            *whole, rest = (rest + more).split(b"\n")
            for line in whole:
                if line.strip() == SAVE:
                    self.save_now.set()
                elif line.strip() != BEAT:
                    self._orders.put(line)
        self.at_end()

    def _watch(self, descriptor: int) -> None:
        hangup = select.poll()
        hangup.register(descriptor, 0)
        hangup.poll()
        self.at_end()
