"""Where files live below the data folder. Every name is made here, once; those of what a run writes in `kd.outputs`."""

import re
from pathlib import Path

from jobs.errors import JobNotFound
from kd.outputs import weights_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_ATTEMPT = re.compile(r"attempt-([1-9][0-9]{0,8})", re.ASCII)
_LOG = re.compile(r"[^.].*\.log(\.[0-9]+)?", re.ASCII)

DATABASE = "stillhouse.db"
"""Unless the settings say that it is elsewhere."""

DATASETS = "datasets"
TEACHERS = "teachers"
"""Those that somebody has brought; `kd.teachers.uploads` names what is in it."""

UPLOADS = "uploads"
"""Files on their way to become data sets; `jobs.files.uploads` names what is in it."""

LABELS = "labels"
"""Label tables, which jobs share."""

GARBAGE_COLLECTED = ".garbage-collected"
"""Its time says when that was done last."""

SCRUBBED = ".scrubbed"
"""How far the files of jobs have been read to see whether they are whole."""

JOBS = "jobs"
"""A folder for each job, and in it one for each attempt."""

DELETED = ".deleted-"
"""Before the name of the folder of a job that was deleted, until all of it is gone."""

# In the folder of an attempt, beside what the run writes.
TRAINER_LOG = "trainer.log"

# An absolute path in a sentence; no URL, and no pointer of one name.
_PATH = re.compile(r"(?<![\w./:~-])(?:/[^\s/'\"():,;]+){2,}/?", re.ASCII)


def held(role: str) -> str:
    """The weights of another job's teacher, in the folder of an attempt that it teaches in this role."""
    return f"held-{weights_of(role)}"


def is_name(name: str) -> bool:
    """Whether a file of a job may have this name: no separators, no leading dot, nothing to escape."""
    return NAME.fullmatch(name) is not None


def job_folder(data_dir: Path, job_id: str) -> Path:
    from jobs import ids  # here: `kd run` and `kd pack` read the names above, and may have no package for ids

    if not ids.is_id("job", job_id):
        raise JobNotFound(job_id)
    return data_dir / JOBS / job_id


def attempt_folder(data_dir: Path, job_id: str, attempt: int) -> Path:
    """Where this attempt writes, and no other one does."""
    assert attempt > 0, "attempts count from 1"
    return job_folder(data_dir, job_id) / f"attempt-{attempt}"


def attempt_of(folder: str) -> int | None:
    """Of which attempt a folder of this name is; None if of none."""
    found = _ATTEMPT.fullmatch(folder)
    return None if found is None else int(found[1])


def is_log(name: str) -> bool:
    """Whether a file of this name is a log, the trainer's or that of another process of the run."""
    return _LOG.fullmatch(name) is not None


def without_places(sentence: str, data_dir: Path) -> str:
    """An error's sentence for users of the API: paths in the data folder as they are in it, of others the name.

    Where on the server's disk something lies helps nobody who cannot go there, and tells who means harm where to look.
    """
    for folder in (data_dir.absolute(), data_dir.resolve()):
        sentence = sentence.replace(f"{folder}/", "").replace(str(folder), "the data folder")
    return _PATH.sub(lambda path: path[0].rstrip("/").rpartition("/")[2], sentence)
