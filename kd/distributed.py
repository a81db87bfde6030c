"""A run in several processes: torchrun starts them, the first of them speaks, and all end together.

    python -m torch.distributed.run --standalone --nproc-per-node=2 -m kd.distributed ORDER

They die with whoever started them: their stdin is a lifeline that nobody writes to.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kd import events, spec
from kd.errors import KdError, TeamFailed
from kd.events import Event
from kd.spec import GuideSpec, TrainSpec


def launch(of: TrainSpec | GuideSpec, *, processes: int, **options: Any) -> Iterator[Event]:
    """`run(of, **options)` in so many processes: the events of the first one. What stopped it is raised here too."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-team-") as folder:
        order, failure = Path(folder) / "order.json", Path(folder) / "failure.txt"
        order.write_text(json.dumps({"spec": of.model_dump(mode="json"), "options": options, "failure": str(failure)}))
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0", f"--nproc-per-node={processes}"]
        team = subprocess.Popen(
            # -P: a folder named kd where the caller happens to stand is not ours.
            [sys.executable, "-P", *torchrun, "-m", "kd.distributed", str(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert team.stdin is not None
        assert team.stdout is not None
        try:
            for line in team.stdout:
                yield events.parse(line)
            if team.wait() != 0:
                raise revived(json.loads(failure.read_text())) if failure.exists() else TeamFailed(team.returncode)
        finally:
            team.stdin.close()  # the lifeline: whoever still runs ends now
            team.terminate()
            team.wait()
            team.stdout.close()


def main(order_file: str) -> int:
    """One process of the team."""
    threading.Thread(target=_die_with_the_caller, daemon=True).start()
    # Only the first one speaks, and what libraries print is not an event.
    voice = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from kd.run import run

    order = json.loads(Path(order_file).read_text())
    leads = os.environ["RANK"] == "0"
    try:
        for event in run(spec.parse(json.dumps(order["spec"])), **order["options"]):
            if leads:
                voice.write(event.model_dump_json() + "\n")
                voice.flush()
    except Exception as error:
        if leads or not Path(order["failure"]).exists():
            Path(order["failure"]).write_text(json.dumps({"kind": type(error).__name__, "message": str(error)}))
        raise
    return 0


def revived(failure: dict[str, str]) -> Exception:
    """The error that stopped a process of the team, as the caller would have seen it in its own."""
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


def _die_with_the_caller() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
