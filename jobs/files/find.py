"""A job's checkpoints and artifacts, as their users look for them."""

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import storable
from jobs.errors import ArtifactNotFound, CheckpointNotFound, ReportNotFound
from jobs.files.retention import NEWEST_FIRST
from jobs.job import get_job
from jobs.kinds import Kind
from jobs.states import FINAL, State
from jobs.tables import Checkpoint, File, FileKind
from kd import outputs


def checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """The checkpoints with a student to download, newest first."""
    get_job(session, job_id)
    return list(session.execute(_with_student(job_id)).scalars())


def checkpoint(session: Session, job_id: str, which: str) -> Checkpoint:
    """One of them: by its id, or "best" or "last"."""
    get_job(session, job_id)
    found = _with_student(job_id).limit(1)
    if which == "best":
        found = found.where(Checkpoint.best)
    elif which != "last":
        if not ids.is_id("ckpt", which):
            raise CheckpointNotFound(job_id, which)
        found = found.where(Checkpoint.id == which)
    one = session.execute(found).scalar_one_or_none()
    if one is None:
        raise CheckpointNotFound(job_id, which)
    return one


def _with_student(job_id: str) -> Select[Checkpoint]:
    has_student = exists().where(File.checkpoint_id == Checkpoint.id, File.kind == FileKind.STUDENT)
    return (
        select(Checkpoint)
        .where(Checkpoint.job_id == job_id, has_student)
        .order_by(*NEWEST_FIRST)
        .execution_options(populate_existing=True)
    )


def artifacts(session: Session, job_id: str) -> list[File]:
    """The job's artifacts, by name."""
    get_job(session, job_id)
    return list(session.execute(_artifacts(job_id).order_by(File.name)).scalars())


def artifact(session: Session, job_id: str, name: str) -> File:
    """The artifact of this name."""
    get_job(session, job_id)
    found = None
    if storable.is_storable(name):
        found = session.execute(_artifacts(job_id).where(File.name == name)).scalar_one_or_none()
    if found is None:
        raise ArtifactNotFound(job_id, name)
    return found


def report(session: Session, job_id: str, name: str) -> File:
    """The job's report as the file of this name. Raises `ReportNotFound`, which says why there is none."""
    job = get_job(session, job_id)
    there = {file.name: file for file in session.execute(_artifacts(job_id)).scalars()}
    if name in there:
        return there[name]
    if outputs.REPORT in there and job.kind is Kind.LIGHT:
        why = f"leaves no {name}: its mode is {job.mode}"
    elif outputs.REPORT in there:
        why = f"was done by an earlier version, which wrote no {name}; its report is there as JSON"
    elif job.state is State.SUCCEEDED:
        why = "has no report any more"
    elif job.state in FINAL:
        why = f"has no report: it ended as {job.state.value}, and a report is written when a run has come to its end"
    else:
        why = f"has no report yet: it is {job.state.value}, and a report is written when its run has come to its end"
    raise ReportNotFound(job_id, why)


def _artifacts(job_id: str) -> Select[File]:
    return select(File).where(File.job_id == job_id, File.kind == FileKind.ARTIFACT)
