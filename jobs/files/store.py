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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs import ids
from jobs.errors import FileGone, UnsafePath
from jobs.files import layout
from kd.outputs import CHECKPOINTS


@dataclass(frozen=True)
class Stored:
    """A file as its row knows it: where it is, relative to the data folder, and the digest of what was written."""

    path: str
    sha256: str


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


def link_teacher(data_dir: Path, path: str, folder: Path, role: str) -> Path:
    """The file under a second name in an attempt's folder: it stays when its own job gives it up. Raises `FileGone`."""
    there, _ = open_file(data_dir, path)
    held = folder / layout.held(role)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.unlink(missing_ok=True)
        os.link(there, held, follow_symlinks=False)
    except FileNotFoundError:
        raise FileGone(path) from None
    # A file system without links: then it is only as safe as its first name. One that takes nothing at all will have
    # its trainer say so.
    except OSError:
        return there
    return held


def unlink_teachers(folder: Path) -> None:
    """What `link_teacher` holds in this folder is of no use any more."""
    for held in folder.glob(layout.held("*")):
        with contextlib.suppress(OSError):
            held.unlink()


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


# -- whatever there is, named by rows or not ---------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Something in a job's folder, as it was when it was listed."""

    path: tuple[str, ...]  # from the data folder on
    facts: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.facts.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.facts.st_mode)


def list_jobs(data_dir: Path) -> list[str]:
    """The names of the folders of jobs, those that were deleted included."""
    with contextlib.suppress(FileNotFoundError), open_folder(data_dir, [layout.JOBS]) as folder:
        return sorted(name for name in os.listdir(folder) if ids.is_id("job", name.removeprefix(layout.DELETED)))
    return []


def list_job(data_dir: Path, name: str) -> list[Entry]:
    """All that is in a job's folder; what a folder holds comes before the folder itself."""
    found: list[Entry] = []
    with contextlib.suppress(OSError), open_folder(data_dir, [layout.JOBS]) as jobs:
        _list(jobs, (layout.JOBS, name), found)
    return found


def _list(parent: int, path: tuple[str, ...], found: list[Entry]) -> None:
    facts = os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        folder = os.open(path[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):  # others are at work
                    _list(folder, (*path, name), found)
        finally:
            os.close(folder)
    found.append(Entry(path, facts))


def delete_entry(data_dir: Path, entry: Entry) -> bool:
    """Whether it is gone, by us. What was written anew since it was listed stays; so does a folder with files in it."""
    *parents, name = entry.path
    try:
        with open_folder(data_dir, parents) as folder:
            if entry.is_folder:
                os.rmdir(name, dir_fd=folder)
                return True
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not os.path.samestat(now, entry.facts) or now.st_mtime_ns != entry.facts.st_mtime_ns:
                return False
            os.unlink(name, dir_fd=folder)
    except OSError:  # somebody was faster, or it is not ours to delete
        return False
    return True


def delete_unnamed_checkpoints(data_dir: Path, job_id: str, *, named: Collection[str]) -> None:
    """Delete checkpoint files that no row names, once no attempt can follow that would write their rows."""
    for entry in list_job(data_dir, job_id):
        _, _, *inside = entry.path
        of_checkpoint = len(inside) > 2 and layout.attempt_of(inside[0]) and inside[1] == CHECKPOINTS
        if of_checkpoint and (entry.is_file or entry.is_folder) and "/".join(entry.path) not in named:
            delete_entry(data_dir, entry)
