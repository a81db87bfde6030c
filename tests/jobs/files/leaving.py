"""What workers leave in the data folder, as old as it has to be."""

import os
import time
from pathlib import Path

from jobs.files import garbage
from jobs.files.retention import NewFile
from jobs.queue import recording
from jobs.queue.fence import Claim
from jobs.tables import FileKind
from kd.disk import sha256_of

OLD = 2 * garbage.GRACE_SECONDS


def grow_old(path: Path, data: Path, seconds: float = OLD) -> None:
    then = time.time() - seconds
    while path != data:
        os.utime(path, (then, then), follow_symlinks=False)
        path = path.parent


def checkpoint(step: int, name: str = "resume.pt") -> str:
    return f"checkpoints/step-{step:09d}/{name}"


def publish(db, data: Path, claim: Claim, step: int, *paths: Path, **facts: object) -> list[str]:
    """As a worker does it; the first file is the student, the others are resume states. Returns what is superseded."""
    new = [
        NewFile(
            FileKind.RESUME if number else FileKind.STUDENT,
            path.name,
            path.relative_to(data).as_posix(),
            path.stat().st_size,
            sha256_of(path),
        )
        for number, path in enumerate(paths)
    ]
    told = {"phase": "student", "epoch": 1, "best": False, "metrics": {}, "fraction": step / 1_000} | facts
    with db.begin() as session:
        return recording.publish(session, claim, step=step, files=new, **told).superseded


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
