"""The child process that trains: an order on stdin, `for event in run(...)`: one JSON line each on stdout.

It has no database credentials and dies with its parent. It loads torch before it reads its order, so that a
trainer can be kept warm: started early, waiting.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO

from kd.errors import TeamFailed
from kd.run import run
from kd.spec import parse
from worker.failures import explain


def main() -> int:
    """Take one order, carry it out, and say what happens."""
    voice = _keep_stdout_for_events()
    say(voice, {"event": "ready"})
    line = sys.stdin.readline()
    if not line:
        return 0  # the parent ended before it had an order for us
    order = json.loads(line)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        _log_to(Path(order["log"]))
        for event in run(
            parse(order["spec"]),
            out=order["out"],
            resume=order["resume"],
            data_folder=order["data_folder"],
            label_folder=order["label_folder"],
            teacher_file=order["teacher_file"],
            device=order["device"],
            label_cache_bytes=order["label_cache_bytes"],
        ):
            voice.write(event.model_dump_json() + "\n")
            voice.flush()
    except TeamFailed:
        traceback.print_exc()
        return 1  # without a word, like any trainer that was killed: the job is tried again
    except Exception as error:
        say(voice, {"event": "failed", **explain(error)})
        with contextlib.suppress(OSError):  # a full disk takes no log
            traceback.print_exc()
        return 1
    return 0


def say(voice: IO[str], fact: dict[str, object]) -> None:
    voice.write(json.dumps(fact) + "\n")
    voice.flush()


def _keep_stdout_for_events() -> IO[str]:
    """What libraries print goes to stderr, so that stdout carries events and nothing else."""
    voice = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return voice


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _die_with_parent() -> None:
    """Stdin is the lifeline: the parent holds its other end and never writes again. At its end, kill the group."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # The parent ends us by signal or by closing the lifeline; Ctrl-C at its terminal is not our business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
