"""The child process that trains: an order on stdin, `for event in run(...)`: one JSON line each on stdout.

It has no database credentials and dies with its parent. It loads torch before it reads its order, so that a
trainer can be kept warm: started early, waiting. Asked to stop, it saves where it stands and ends.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from kd import liveness
from kd.errors import TeamFailed
from kd.events import Advanced, Event, Failed, Ready, Saved, Started, Step, Stopped, Waiting
from kd.machine.child import Lifeline, take_stdout
from kd.spec import parse
from worker import descendants


def main() -> int:
    """Take one order, carry it out, and say what happens."""
    messages, lifeline = take_stdout(), Lifeline()
    _volunteer_to_the_oom_killer()
    # These load torch, which takes seconds: the lifeline is minded by now.
    from kd.run import run
    from worker.failures import explain, passes

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
            for event in run(
                parse(order["spec"], accepted=True),
                out=order["out"],
                resume=order["resume"],
                data_folder=order["data_folder"],
                label_folder=order["label_folder"],
                resume_sha256=order["resume_sha256"],
                teacher_files=order["teacher_files"],
                label_cache_bytes=order["label_cache_bytes"],
                save_now=lifeline.save_now,
            ):
                say(event)
                if lifeline.save_now.is_set() and loses_nothing_after(event, order["spec"]["mode"]):
                    say(Stopped())
                    return 0
    except Exception as error:
        if isinstance(error, TeamFailed) or passes(error):
            traceback.print_exc()
            return 1  # without a word, like any trainer that was killed: the job is tried again
        ending = explain(error)
        say(Failed(code=ending.code, message=ending.message, hint=ending.hint, retryable=ending.retryable))
        with contextlib.suppress(OSError):  # a full disk takes no log
            traceback.print_exc()
        return 1
    return 0


def loses_nothing_after(event: Event, mode: str) -> bool:
    """Whether a run that ends after this event will go on from here: it has just saved, or just begun, or it writes a
    label table, which keeps by itself what is in it. (The labels of a round of `guide` are kept nowhere.)"""
    if isinstance(event, Saved):
        return event.phase != "evaluating"  # the report is all that is missing: let it finish
    labels = isinstance(event, Step) and event.phase == "labelling" and mode == "train"
    return labels or isinstance(event, Started | Waiting)


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


if __name__ == "__main__":
    # The parent ends us by signal or by closing the lifeline; Ctrl-C at its terminal is not our business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
