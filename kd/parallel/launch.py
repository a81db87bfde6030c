"""A run in several processes: torchrun starts them, the first of them speaks, and all end together."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from kd import events
from kd.errors import KdError, TeamFailed
from kd.events import Event, Finished
from kd.spec import GuideSpec, TrainSpec

# How long the team may take to end once it is told to.
LEAVE_SECONDS = 10.0
# Who listens for a wish to save notices so soon that there is nobody left to tell.
EAR_SECONDS = 0.1


def launch(
    of: TrainSpec | GuideSpec, *, processes: int, save_now: threading.Event | None, **options: Any
) -> Iterator[Event]:
    """`run(of, **options)` in so many processes: the events of the first one. What stopped it is raised here too."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-team-") as folder:
        order, failure = Path(folder) / "order.json", Path(folder) / "failure.txt"
        order.write_text(json.dumps({"spec": of.model_dump(mode="json"), "options": options, "failure": str(failure)}))
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0", f"--nproc-per-node={processes}"]
        team = subprocess.Popen(
            # -P: a folder named kd where the caller happens to stand is not ours.
            [sys.executable, "-P", *torchrun, "-m", "kd.member", str(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert team.stdin is not None
        assert team.stdout is not None
        try:
            with passed_on(save_now, team.stdin):
                for line in team.stdout:
                    event = events.parse(line)
                    yield event
                    if isinstance(event, Finished):
                        return
            team.wait()
            raise revived(json.loads(failure.read_text())) if failure.exists() else TeamFailed(team.returncode)
        finally:
            team.stdin.close()  # the lifeline: whoever still runs ends now
            with contextlib.suppress(subprocess.TimeoutExpired):
                team.wait(LEAVE_SECONDS)
            team.kill()
            team.wait()
            team.stdout.close()


@contextlib.contextmanager
def passed_on(save_now: threading.Event | None, stdin: IO[bytes]) -> Iterator[None]:
    """While the block lasts: a wish to save, once it is there, reaches the team."""
    wish, over = save_now or threading.Event(), threading.Event()

    def listen() -> None:
        while not over.is_set():
            if wish.wait(EAR_SECONDS):
                with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile
                    stdin.write(b"save\n")
                    stdin.flush()
                return

    ear = threading.Thread(target=listen, daemon=True)
    ear.start()
    try:
        yield
    finally:
        over.set()
        ear.join()


def revived(failure: dict[str, Any]) -> Exception:
    """The error that stopped a process of the team, as the caller would have seen it in its own."""
    if failure["errno"] is not None:
        return OSError(failure["errno"], failure["message"])
    kinds: list[type[Exception]] = [*_kinds_of(KdError), torch.OutOfMemoryError, MemoryError]
    known = {kind.__name__: kind for kind in kinds}
    if failure["kind"] not in known:
        return RuntimeError(f"{failure['kind']}: {failure['message']}")
    kind = known[failure["kind"]]
    error = kind.__new__(kind)  # its own __init__ wants the facts, of which only the sentence came across
    error.args = (failure["message"],)
    return error


def _kinds_of(kind: type[Exception]) -> Iterator[type[Exception]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _kinds_of(narrower)
