"""What every child of a worker does: takes one order, carries it out, says what happens, and ends with its parent.

Standard library and small models: what the work itself needs is loaded once the lifeline is minded.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jobs.endings import Ending
from kd import liveness
from kd.errors import TeamFailed
from kd.events import Advanced, Event, Failed, Ready
from kd.machine import imports
from kd.machine.child import Lifeline, take_stdout
from worker import descendants

Say = Callable[[Event], None]
GoOn = Callable[[], None]
"""Called now and then: it ends by an exception what is not to go on."""


@dataclass(frozen=True)
class Work:
    """What a child can do."""

    do: Callable[[dict[str, Any], Say, threading.Event], None]
    """Carry out an order, say what happens, and end early, where nothing is lost, once the event is set."""
    explain: Callable[[BaseException], Ending]
    """The ending that an error makes of it."""
    passes: Callable[[BaseException], bool]
    """Whether an error says nothing of the work."""


def live(load: Callable[[], Work]) -> NoReturn:
    """The whole life of a child: it takes one order, and ends when that is carried out."""
    # Its parent ends it by signal or by closing the lifeline; Ctrl-C at their terminal is not its business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = _carry_out_one_order(load)
    # Here and now: all that it had to say is said, and to unload torch takes half a second.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _carry_out_one_order(load: Callable[[], Work]) -> int:
    messages, lifeline = take_stdout(), Lifeline()
    _volunteer_to_the_oom_killer()
    with imports.unburdened():  # to load torch takes seconds: the lifeline is minded by now
        work = load()

    def say(event: Event) -> None:
        lifeline.say(messages, event.model_dump_json())

    say(Ready())
    order = json.loads(lifeline.order())
    lifeline.at_end = _kill_all_we_started
    if (seconds := order["silence_seconds"]) is not None:
        lifeline.expect_beats(seconds)
    _save_on_sigterm(lifeline.save_now)
    try:
        _log_to(Path(order["log"]))
        with liveness.reported(lambda: say(Advanced())):
            work.do(order, say, lifeline.save_now)
    except Exception as error:
        if isinstance(error, TeamFailed) or work.passes(error):
            traceback.print_exc()
            return 1  # without a word, like any child that was killed: the job is tried again
        ending = work.explain(error)
        say(Failed(code=ending.code, message=ending.message, hint=ending.hint, retryable=ending.retryable))
        with contextlib.suppress(OSError):  # a full disk takes no log
            traceback.print_exc()
        return 1
    return 0


def _kill_all_we_started() -> None:
    if mark := os.environ.get(descendants.MARK):
        descendants.kill(mark)  # those in sessions of their own as well
    os.killpg(0, signal.SIGKILL)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _save_on_sigterm(save_now: threading.Event) -> None:
    """An init system that stops the worker signals all of its processes, and we have something to save."""

    def save(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would find the event's lock held
        save_now.set()

    signal.signal(signal.SIGTERM, save)


def _volunteer_to_the_oom_killer() -> None:
    """When the machine runs out of memory the kernel shall end us and not the worker, which can tell what happened."""
    with contextlib.suppress(OSError):  # not Linux, or a container that forbids it
        Path("/proc/self/oom_score_adj").write_text("500")
