"""Runs in processes of their own, to be killed: started out of one that has loaded torch already, in milliseconds."""

import json
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import HANG_SECONDS

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["kd.run"])


@dataclass(frozen=True)
class Halt:
    """Where a run stops, or is killed: a moment after it has said this. It does so itself: nobody has to be as fast."""

    event: str
    phase: str | None = None
    count: int = 0
    """This at least, for events that count."""
    after_seconds: float = 0.0
    by: signal.Signals = signal.SIGKILL

    def is_meant(self, said: dict[str, Any]) -> bool:
        return (said["event"], said.get("phase")) == (self.event, self.phase) and said.get("count", 0) >= self.count

    def strike(self) -> None:
        if self.after_seconds:
            threading.Timer(self.after_seconds, os.kill, (os.getpid(), self.by)).start()
        else:
            os.kill(os.getpid(), self.by)


def _go(spec: str, folder: Path, resume: Path | None, data: Path, labels: Path, halt: Halt | None) -> None:
    import torch

    torch.set_num_threads(1)  # the same bits, whatever else goes on
    from kd.labels import progress
    from kd.run import run
    from kd.spec import parse

    progress.CHUNK_SECONDS = 0.01
    with open(folder / "said", "a") as said:
        for event in run(parse(spec), folder, resume, data_folder=data, label_folder=labels):
            said.write(event.model_dump_json() + "\n")
            said.flush()
            if halt is not None and halt.is_meant(event.model_dump()):
                halt.strike()
                halt = None


class Run:
    """A run that goes on in another process, and what it has said so far."""

    def __init__(
        self,
        spec: dict,
        folder: Path,
        *,
        data: Path,
        labels: Path,
        resume: Path | None = None,
        halt: Halt | None = None,
    ):
        folder.mkdir(parents=True)
        self.folder = folder
        # As JSON, where a tuple is a list.
        self.process = _processes.Process(target=_go, args=(json.dumps(spec), folder, resume, data, labels, halt))
        self.process.start()

    def events(self, *kinds: str) -> list[dict]:
        said = self.folder / "said"
        lines = said.read_text().splitlines(keepends=True) if said.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if not kinds or event["event"] in kinds]

    def codes(self) -> list[str]:
        return [event["code"] for event in self.events("noted")]

    @property
    def newest_resume(self) -> Path | None:
        saved = self.events("saved")
        return self.folder / saved[-1]["resume"]["path"] if saved else None

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.join()

    def was_killed(self) -> bool:
        """Once it is over."""
        self.process.join(HANG_SECONDS)
        return self.process.exitcode == -signal.SIGKILL

    def finish(self) -> None:
        self.process.join(HANG_SECONDS)
        assert self.process.exitcode == 0
