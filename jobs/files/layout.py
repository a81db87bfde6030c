"""Where files live: one folder per attempt under the data folder. Every name is made here, once."""

import re
from pathlib import Path

from jobs import ids
from jobs.errors import JobNotFound

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)

JOBS = "jobs"
# The folder of a job that was deleted, until all of it is gone.
DELETED = ".deleted-"
# In the folder of an attempt, the weights of another job's teacher.
HELD = "held-teacher.safetensors"


def is_name(name: str) -> bool:
    """Whether a file of a job may have this name: no separators, no leading dot, nothing to escape."""
    return _NAME.fullmatch(name) is not None


def job_folder(data_dir: Path, job_id: str) -> Path:
    if not ids.is_id("job", job_id):
        raise JobNotFound(job_id)
    return data_dir / JOBS / job_id


def attempt_folder(data_dir: Path, job_id: str, attempt: int) -> Path:
    """Where this attempt writes, and no other one does."""
    assert attempt > 0, "attempts count from 1"
    return job_folder(data_dir, job_id) / f"attempt-{attempt}"
