"""The folder of a run without a server: what of it is kept where people, and a run that goes on, find it. No torch."""

import shutil
from pathlib import Path

from kd import disk
from kd.events import Saved
from kd.outputs import STUDENT

# Two, so that one is left should the machine die while it writes the newer one's successor.
KEPT_RESUME_FILES = 2


def keep_best(saved: Saved, folder: Path) -> None:
    """Put the best student where people find it, and remove the checkpoints that newer ones replace."""
    if saved.student is not None and saved.best:
        with open(folder / saved.student.path, "rb") as student, disk.atomic(folder / STUDENT) as file:
            shutil.copyfileobj(student, file)
    prune_checkpoints(folder)


def prune_checkpoints(folder: Path) -> None:
    """Remove the checkpoints that newer ones replace."""
    for old in resume_files(folder)[KEPT_RESUME_FILES:]:
        old.unlink()
        old.with_name(STUDENT).unlink(missing_ok=True)
        if not any(old.parent.iterdir()):
            old.parent.rmdir()


def resume_files(folder: Path) -> list[Path]:
    """The resume files of a run, newest first: their folders' names hold the step."""
    return sorted(folder.glob("checkpoints/step-*/resume.pt"), reverse=True)
