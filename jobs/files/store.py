"""Put, open, link, delete and list the files of jobs, by the paths that rows hold. They lie below the data folder.

Nobody else touches them, so that another store can stand here. Every path is made by the server; what a request brings
is only ever compared with rows. The checks here, which let no path and no link lead out of the data folder, are the
second wall.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from jobs.errors import FileGone, UnsafePath
from jobs.files import layout
from kd.outputs import CHECKPOINTS


def check(path: str) -> PurePosixPath:
    """A path relative to the data folder, in the one form that rows hold: plain names joined by slashes."""
    relative = PurePosixPath(path)
    if not relative.parts or str(relative) != path or not all(layout.is_name(part) for part in relative.parts):
        raise UnsafePath(path)
    return relative


def put(data_dir: Path, file: Path) -> str:
    """The path of a file that is complete in the folder of its attempt, which is where it stays."""
    return file.relative_to(data_dir).as_posix()


def open_file(data_dir: Path, path: str) -> tuple[Path, int]:
    """The file's real path and size. A link anywhere below the data folder is refused. Raises `FileGone`."""
    relative = check(path)
    try:
        with open_folder(data_dir, relative.parts[:-1]) as folder:
            facts = os.stat(relative.name, dir_fd=folder, follow_symlinks=False)
    except OSError:  # gone, a link, or a file where a folder should be
        raise FileGone(path) from None
    if not stat.S_ISREG(facts.st_mode):
        raise FileGone(path)
    return data_dir / relative, facts.st_size


@contextlib.contextmanager
def open_folder(data_dir: Path, parts: Sequence[str]) -> Iterator[int]:
    """A descriptor of a folder below the data folder, reached without following a link. Raises OSError."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def link_teacher(data_dir: Path, path: str, folder: Path) -> Path:
    """The file under a second name in an attempt's folder: it stays when its own job gives it up. Raises `FileGone`."""
    there, _ = open_file(data_dir, path)
    folder.mkdir(parents=True, exist_ok=True)
    held = folder / layout.HELD_TEACHER
    try:
        held.unlink(missing_ok=True)
        os.link(there, held, follow_symlinks=False)
    except FileNotFoundError:
        raise FileGone(path) from None
    except OSError:  # a file system without links: then it is only as safe as its first name
        return there
    return held


def unlink_teacher(folder: Path) -> None:
    """What `link_teacher` holds in this folder is of no use any more."""
    with contextlib.suppress(OSError):
        (folder / layout.HELD_TEACHER).unlink()


def delete(data_dir: Path, paths: Iterable[str]) -> None:
    """Delete superseded files, after the commit that gave them up. What is gone already is fine."""
    for path in paths:
        relative = check(path)
        # Not there, or not ours to delete: an unused file is no reason to fail.
        with contextlib.suppress(OSError), open_folder(data_dir, relative.parts[:-1]) as folder:
            if stat.S_ISREG(os.stat(relative.name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(relative.name, dir_fd=folder)


def delete_jobs(data_dir: Path, job_ids: Collection[str]) -> None:
    """Delete the folders of jobs that were deleted, after the commit. What is in the way is left to `garbage.py`."""
    for job_id in job_ids:
        layout.job_folder(data_dir, job_id)  # raises for what is no id
    with contextlib.suppress(OSError), open_folder(data_dir, [layout.JOBS]) as jobs:
        # All of them get their new names first, which is quick: should we be killed later, those tell that they may go.
        for job_id in job_ids:
            with contextlib.suppress(OSError):
                os.rename(job_id, layout.DELETED + job_id, src_dir_fd=jobs, dst_dir_fd=jobs)
        for job_id in job_ids:
            with contextlib.suppress(OSError):
                os.unlink(layout.DELETED + job_id, dir_fd=jobs)  # a link, or a file; refuses a folder
            shutil.rmtree(layout.DELETED + job_id, ignore_errors=True, dir_fd=jobs)  # never through a link


def list_checkpoint_files(data_dir: Path, job_id: str) -> list[str]:
    """The paths of all files of checkpoints that are there, whether a row names them or not."""
    found = (path for folder in _checkpoint_folders(data_dir, job_id) for path in folder.iterdir() if path.is_file())
    return [path.relative_to(data_dir).as_posix() for path in found]


def delete_unnamed(data_dir: Path, job_id: str, *, keep: Collection[str]) -> None:
    """Delete checkpoint files that no row names, once no attempt can follow that would write their rows."""
    delete(data_dir, [path for path in list_checkpoint_files(data_dir, job_id) if path not in keep])
    for emptied in _checkpoint_folders(data_dir, job_id):
        with contextlib.suppress(OSError):  # not empty
            emptied.rmdir()


def _checkpoint_folders(data_dir: Path, job_id: str) -> list[Path]:
    attempts = layout.job_folder(data_dir, job_id).glob("*")
    return [
        path for attempt in attempts if layout.attempt_of(attempt.name) for path in attempt.glob(f"{CHECKPOINTS}/*/")
    ]
