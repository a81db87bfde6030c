"""Runs in processes of their own, to be killed: started out of one that has loaded torch already, in milliseconds."""

import json
import multiprocessing
from pathlib import Path

from tests.support.waiting import HANG_SECONDS

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["kd.run", "sklearn.datasets"])


def _go(spec: str, folder: Path, resume: Path | None, data: Path, labels: Path) -> None:
    import torch

    torch.set_num_threads(1)  # the same bits, whatever else goes on
    from kd.labels import labelling
    from kd.run import run
    from kd.spec import parse

    labelling.CHUNK_SECONDS = 0.01
    with open(folder / "said", "a") as said:
        for event in run(parse(spec), folder, resume, data_folder=data, label_folder=labels):
            said.write(event.model_dump_json() + "\n")
            said.flush()


class Run:
    """A run that goes on in another process, and what it has said so far."""

    def __init__(self, spec: dict, folder: Path, *, data: Path, labels: Path, resume: Path | None = None):
        folder.mkdir(parents=True)
        self.folder = folder
        # As JSON, where a tuple is a list.
        self.process = _processes.Process(target=_go, args=(json.dumps(spec), folder, resume, data, labels))
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

    def kill(self) -> bool:
        """End it without warning; False if it was over already."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode != 0

    def finish(self) -> None:
        self.process.join(HANG_SECONDS)
        assert self.process.exitcode == 0
