"""Which files of a run are kept: the best student, the newest ones, the pinned ones, and the newest two to resume from.

Only rows are written here, inside a transaction that holds the job's row: that of a fenced write, or of a user who
pins. What is forgotten is returned as paths for the caller to delete after its commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session, lazyload

from jobs import ids
from jobs.errors import CheckpointNotFound, JobNotFound, NotStorable
from jobs.files.layout import is_name
from jobs.files.store import Stored
from jobs.files.store import check as check_path
from jobs.tables import Checkpoint, File, FileKind, Job

RESUMES_KEPT = 2
"""The newest could be damaged; the one before it serves then."""

# An attempt that resumed comes after all that an earlier attempt did, whatever the step.
NEWEST_FIRST = (Checkpoint.attempt.desc(), Checkpoint.step.desc(), Checkpoint.id.desc())


@dataclass(frozen=True)
class NewFile:
    """A file that is complete on disk."""

    kind: FileKind
    name: str
    path: str
    size: int
    sha256: str


def check(new: Sequence[NewFile]) -> None:
    """Refuse names and paths that are not plain, before anything is written."""
    for file in new:
        check_path(file.path)
        if not is_name(file.name):
            raise NotStorable("A file's name", f"cannot be {file.name!r}")


def keep(session: Session, job_id: str, new: Sequence[NewFile], *, at: datetime, checkpoint_id: str | None) -> None:
    """Write the files' rows: from the commit on, they can be seen."""
    session.execute(
        insert(File),
        [
            {
                "id": ids.new("file"),
                "job_id": job_id,
                "checkpoint_id": checkpoint_id,
                "kind": file.kind,
                "name": file.name,
                "path": file.path,
                "size": file.size,
                "sha256": file.sha256,
                "created_at": at,
            }
            for file in new
        ],
    )


def resumes(session: Session, job_id: str) -> list[tuple[File, Checkpoint]]:
    """What the job could go on from, newest first."""
    return [(file, checkpoint) for file, checkpoint in _files(session, job_id) if file.kind is FileKind.RESUME]


def newest_resume(session: Session, job_id: str) -> tuple[Stored | None, int]:
    """The file to go on from and its step; (None, -1) is the start."""
    for file, checkpoint in resumes(session, job_id):
        return Stored(file.path, file.sha256), checkpoint.step
    return None, -1


def forget_superseded(session: Session, job_id: str) -> list[str]:
    """Forget all students but the best, the job's `keep_last` newest and the pinned, and all but the newest resumes."""
    keep_last = session.execute(select(Job.keep_last).where(Job.id == job_id)).scalar_one()
    students, resumes = [], []
    for file, checkpoint in _files(session, job_id):
        if file.kind is FileKind.STUDENT:
            students.append((file, checkpoint.best or checkpoint.pinned))
        else:
            resumes.append(file)
    superseded = [file for file, stays in students[keep_last:] if not stays]
    return forget(session, job_id, superseded + resumes[RESUMES_KEPT:])


def pin(session: Session, job_id: str, checkpoint_id: str, pinned: bool) -> tuple[Checkpoint, list[str]]:
    """Keep a checkpoint's student whatever comes, or no longer.

    Returns the checkpoint, which may be forgotten now that it is let go, and paths to delete after the commit.
    """
    # Until we commit the job's worker publishes nothing, and so does not forget what we pin.
    if session.execute(select(Job.id).where(Job.id == job_id).with_for_update()).scalar_one_or_none() is None:
        raise JobNotFound(job_id)
    has_student = exists().where(File.checkpoint_id == Checkpoint.id, File.kind == FileKind.STUDENT)
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.id == checkpoint_id, Checkpoint.job_id == job_id, has_student)
        .values(pinned=pinned)
        .execution_options(synchronize_session=False)
    )
    found = select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.job_id == job_id, has_student)
    checkpoint = session.execute(found, execution_options={"populate_existing": True}).scalar_one_or_none()
    if checkpoint is None:
        raise CheckpointNotFound(job_id, checkpoint_id)
    session.expunge(checkpoint)  # as it is now, with its files
    return checkpoint, [] if pinned else forget_superseded(session, job_id)


def forget(session: Session, job_id: str, gone: Sequence[File]) -> list[str]:
    """Delete these rows, and every checkpoint left without a file. Returns the paths that nothing refers to now."""
    if not gone:
        return []
    rows_only = {"synchronize_session": False}
    without_file = ~exists().where(File.checkpoint_id == Checkpoint.id)
    session.execute(delete(File).where(File.id.in_([file.id for file in gone])), execution_options=rows_only)
    session.execute(delete(Checkpoint).where(Checkpoint.job_id == job_id, without_file), execution_options=rows_only)
    # A path that was written anew belongs to its new row.
    there = paths_of(session, job_id)
    return [file.path for file in gone if file.path not in there]


def paths_of(session: Session, job_id: str) -> set[str]:
    """The paths of all files that the job has."""
    return set(session.execute(select(File.path).where(File.job_id == job_id)).scalars())


def _files(session: Session, job_id: str) -> list[tuple[File, Checkpoint]]:
    """The files of a job's checkpoints, newest first."""
    rows = session.execute(
        select(File, Checkpoint)
        .join(Checkpoint, Checkpoint.id == File.checkpoint_id)
        .where(File.job_id == job_id)
        .order_by(*NEWEST_FIRST)
        .options(lazyload(Checkpoint.files))
        .execution_options(populate_existing=True)
    )
    return [(file, checkpoint) for file, checkpoint in rows]
