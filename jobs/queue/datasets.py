"""How a data set of somebody's own files comes, by a job of light work, and how it goes."""

import contextlib
import shutil
from pathlib import Path

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from jobs.database.engine import Sessions
from jobs.errors import (
    DatasetInUse,
    DatasetNotExamined,
    DatasetNotFound,
    NoRoom,
    NoSuchUpload,
    SpecRefused,
)
from jobs.files import layout, quota, uploads
from jobs.kinds import Kind
from jobs.queue.submit import add_light_job
from jobs.settings import Settings
from jobs.states import FINAL
from jobs.tables import Job
from kd.data import packed_facts
from kd.locks import LOCK, try_lock
from kd.spec.faults import Fault
from kd.spec.ingest import Ingest, IngestSpec


def ingest(db: Sessions, settings: Settings, wanted: Ingest) -> tuple[Job, bool]:
    """The job that makes a data set of a file, and True; or the one that is at this very work, and False.

    Raises `SpecRefused`, and `NoRoom`.
    """
    if (trouble := quota.trouble(settings)) is not None:
        raise NoRoom(trouble)
    _check_upload(settings.data_dir, wanted.upload)
    spec = IngestSpec(config=wanted)
    with db.begin() as session:
        for job in session.execute(select(Job).where(*_live(wanted.name))).scalars():
            if job.resolved_spec == spec.model_dump(mode="json"):
                return job, False
            raise SpecRefused([Fault("/name", f"is being made by {job.id}; cancel that, or choose another name")])
        # Only now: while a job makes it, it may come at any moment.
        if wanted.name in packed_facts.names(settings.data_dir / layout.DATASETS):
            why = f"is there already; DELETE /datasets/{wanted.name} if it may go, or choose another name"
            raise SpecRefused([Fault("/name", why)])
        return add_light_job(session, spec), True


def _check_upload(data_dir: Path, upload_id: str) -> None:
    try:
        upload = uploads.read(data_dir, upload_id)
    except NoSuchUpload as error:
        raise SpecRefused(
            [Fault("/upload", "is not there, or no longer: POST /uploads, and bring the file")]
        ) from error
    there, size = uploads.received(data_dir, upload), upload.said.size
    if there < size:
        raise SpecRefused([Fault("/upload", f"is not whole: {there:,} of its {size:,} bytes are there")])


def _live(name: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions of jobs that have not ended and make this data set."""
    return Job.kind == Kind.LIGHT, Job.state.not_in(FINAL), Job.resolved_spec["config"]["name"].as_string() == name


def wants(session: Session, upload_id: str) -> list[str]:
    """Jobs that have not ended and read this file."""
    reads = Job.resolved_spec["config"]["upload"].as_string() == upload_id
    return list(session.execute(select(Job.id).where(Job.kind == Kind.LIGHT, Job.state.not_in(FINAL), reads)).scalars())


def remove(session: Session, data_dir: Path, name: str) -> None:
    """Delete a packed data set. Raises `DatasetNotFound`, and `DatasetInUse` while a job that has not ended learns of
    it. (One that is submitted at the same moment fails by and by, and says what it lacks.)"""
    folder = data_dir / layout.DATASETS
    if name not in packed_facts.names(folder):
        raise DatasetNotFound(name)
    learns = Job.resolved_spec["config"]["dataset"].as_string() == name
    if users := session.execute(select(Job.id).where(Job.state.not_in(FINAL), learns).limit(5)).scalars().all():
        raise DatasetInUse(name, users)
    (folder / name / packed_facts.FILE).unlink(missing_ok=True)  # first, so that nobody finds half of it
    shutil.rmtree(folder / name, ignore_errors=True)


def report(data_dir: Path, name: str, file_name: str) -> Path:
    """The file of this name that the examination of a packed data set has left. Raises `DatasetNotFound`, and
    `DatasetNotExamined` where there is none."""
    folder = data_dir / layout.DATASETS
    if name not in packed_facts.names(folder):
        raise DatasetNotFound(name)
    if not (path := folder / name / file_name).is_file():
        raise DatasetNotExamined(name)
    return path


def collect(db: Sessions, data_dir: Path) -> None:
    """Delete uploads that nobody brings on, and that no job wants; and what packers that were killed have left."""
    for upload_id in uploads.abandoned(data_dir):
        use_up(db, data_dir, upload_id)
    packed = data_dir / layout.DATASETS / packed_facts.PREFIX
    for draft in (*uploads.untouched(packed.glob(".*")), *packed.glob(f".*{LOCK}")):
        with contextlib.suppress(FileNotFoundError), try_lock(draft) as nobody_writes:
            if nobody_writes:
                shutil.rmtree(draft, ignore_errors=True)
                draft.with_suffix(LOCK).unlink(missing_ok=True)


def use_up(db: Sessions, data_dir: Path, upload_id: str) -> None:
    """Delete an upload that has become a data set, if no other job wants it."""
    with db.read() as session:
        wanted = wants(session, upload_id)
    if not wanted:
        with contextlib.suppress(NoSuchUpload):
            uploads.remove(data_dir, upload_id)
