"""A run in several processes: torchrun starts them, the first of them speaks, and all end together."""

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kd import events, liveness
from kd.errors import KdError, TeamFailed
from kd.events import Advanced, Event, Finished
from kd.machine import child
from kd.models.own import names
from kd.spec import GuideSpec, TrainSpec

# How long the team may take to end once it is told to.
LEAVE_SECONDS = 10.0
# Whoever waits for a wish to save sees within this time that there is nobody left to tell.
LOOK_SECONDS = 0.1


def launch(
    of: TrainSpec | GuideSpec, *, processes: int, save_now: threading.Event | None, **options: Any
) -> Iterator[Event]:
    """`run(of, **options)` in so many processes: the events of the first one. What stopped it is raised here too."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-team-") as folder:
        order, failure = Path(folder) / "order.json", Path(folder) / "failure.txt"
        facts = {"spec": of.model_dump(mode="json"), "options": options, "failure": str(failure)}
        order.write_text(json.dumps({**facts, "models": [str(file) for file in names.files()]}))
        torchrun = ["--standalone", "--max-restarts=0", f"--nproc-per-node={processes}"]
        team = child.start("torch.distributed.run", *torchrun, "-m", "kd.member", str(order), own_group=False)
        assert team.stdout is not None
        try:
            with pass_on(save_now, team):
                for line in team.stdout:
                    event = events.parse(line)
                    if isinstance(event, Advanced):  # the team's mark is ours
                        liveness.advance()
                        continue
                    yield event
                    if isinstance(event, Finished):
                        return
            team.wait()
            raise revive(json.loads(failure.read_text())) if failure.exists() else TeamFailed(team.returncode)
        finally:
            child.let_go(team)  # whoever still runs ends now
            with contextlib.suppress(subprocess.TimeoutExpired):
                team.wait(LEAVE_SECONDS)
            team.kill()
            team.wait()
            team.stdout.close()


@contextlib.contextmanager
def pass_on(save_now: threading.Event | None, team: subprocess.Popen[bytes]) -> Iterator[None]:
    """While the block lasts: a wish to save, once it is there, reaches the team."""
    wish, over = save_now or threading.Event(), threading.Event()

    def wait_for_it() -> None:
        while not over.is_set():
            if wish.wait(LOOK_SECONDS):
                child.tell(team, child.SAVE)
                return

    waiting = threading.Thread(target=wait_for_it, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()


def revive(failure: dict[str, Any]) -> Exception:
    """The error that stopped a process of the team, as the caller would have seen it in its own."""
    if failure["errno"] is not None:
        return OSError(failure["errno"], failure["message"])
    kinds: list[type[Exception]] = [*_narrower(KdError), torch.OutOfMemoryError, MemoryError]
    known = {kind.__name__: kind for kind in kinds}
    if failure["kind"] not in known:
        return RuntimeError(f"{failure['kind']}: {failure['message']}")
    kind = known[failure["kind"]]
    error = kind.__new__(kind)  # its own __init__ wants the facts, of which only the sentence came across
    error.args = (failure["message"],)
    return error


def _narrower(kind: type[Exception]) -> Iterator[type[Exception]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _narrower(subclass)
