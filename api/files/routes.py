"""What a job leaves behind: checkpoints, other files, and what its trainer printed."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as InQuery
from fastapi.responses import PlainTextResponse
from pydantic import Field

from api.dependencies import Database, JobId, Settings
from api.files import views
from api.http import body, download, pages
from api.http.conditional import CONDITIONS
from api.http.queries import Query
from jobs import ids
from jobs.errors import ArtifactNotFound, CheckpointNotFound, FileGone
from jobs.files import find, layout, retention, store
from jobs.job import get_job
from kd.spec import Part

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])

LOG_BYTES = 2**20

BINARY: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", "content": {"application/octet-stream": {}}},
    206: {"description": "the part that `Range` asked for", "content": {"application/octet-stream": {}}},
    304: {"description": "`If-None-Match` names the digest of the file: you have it"},
    412: {"description": "`If-Match` or `If-Unmodified-Since` wants another file"},
    410: {"description": "the file was replaced or removed"},
    416: {"description": "`Range` begins behind the end"},
}

EITHER: dict[str, Any] = {"application/octet-stream": {}, "application/json": {}}  # by the ending of its name
ARTIFACT = {status: it | ({"content": EITHER} if status in (200, 206) else {}) for status, it in BINARY.items()}


@router.get("/checkpoints")
def list_checkpoints(job_id: JobId, db: Database) -> pages.Page[views.Checkpoint]:
    """The students to download: the best on the validation split, the newest, and those that are pinned."""
    with db.read() as session:
        found = find.checkpoints(session, job_id)
    return pages.page([views.checkpoint(row) for row in found])


@router.get("/checkpoints/{checkpoint}")
def get_checkpoint(job_id: JobId, checkpoint: str, db: Database) -> views.Checkpoint:
    """One checkpoint, by its id, or `best` or `last`."""
    _check_reference(job_id, checkpoint)
    with db.read() as session:
        found = find.checkpoint(session, job_id, checkpoint)
    return views.checkpoint(found)


class CheckpointChange(Part):
    """What users may change of a checkpoint."""

    pinned: bool = Field(description="true: keep it, whatever comes, until the job is deleted")


@router.patch("/checkpoints/{checkpoint}", openapi_extra=body.schema_of(CheckpointChange))
def change_checkpoint(
    job_id: JobId,
    checkpoint: str,
    change: Annotated[CheckpointChange, Depends(body.of(CheckpointChange))],
    db: Database,
    settings: Settings,
) -> views.Checkpoint:
    """Pin a checkpoint, so that no newer one takes its place; or let it go, and with it what would be gone by now."""
    _check_reference(job_id, checkpoint)
    with db.begin() as session:
        found = find.checkpoint(session, job_id, checkpoint)
        changed, superseded = retention.pin(session, job_id, found.id, change.pinned)
    store.delete(settings.data_dir, superseded)
    return views.checkpoint(changed)


@router.get("/checkpoints/{checkpoint}/download", response_class=Response, responses=BINARY, openapi_extra=CONDITIONS)
def download_checkpoint(job_id: JobId, checkpoint: str, request: Request, db: Database, settings: Settings) -> Response:
    """The student's weights. The ETag is their SHA-256; `Range` resumes a download that broke off."""
    _check_reference(job_id, checkpoint)
    with db.read() as session:
        student = views.student(find.checkpoint(session, job_id, checkpoint))
    path, _ = store.open_file(settings.data_dir, student.path)
    return download.serve(
        request, path, name=student.name, size=student.size, sha256=student.sha256, made_at=student.created_at
    )


@router.get("/artifacts")
def list_artifacts(job_id: JobId, db: Database) -> pages.Page[views.Artifact]:
    """Files besides the checkpoints: the report, the teacher's weights."""
    with db.read() as session:
        found = find.artifacts(session, job_id)
    return pages.page([views.artifact(row) for row in found])


@router.get("/artifacts/{name}", response_class=Response, responses=ARTIFACT, openapi_extra=CONDITIONS)
def download_artifact(job_id: JobId, name: str, request: Request, db: Database, settings: Settings) -> Response:
    """One of these files."""
    if not layout.is_name(name):
        raise ArtifactNotFound(job_id, name[:100])
    with db.read() as session:
        found = find.artifact(session, job_id, name)
    path, _ = store.open_file(settings.data_dir, found.path)
    return download.serve(
        request, path, name=found.name, size=found.size, sha256=found.sha256, made_at=found.created_at
    )


class LogTail(Query):
    tail: int = Field(default=1_000, ge=1, le=10_000, description="at most so many lines, from the end")
    attempt: int | None = Field(default=None, ge=1, le=1_000_000, description="default: the newest")


@router.get("/logs", response_class=PlainTextResponse)
def read_log(
    job_id: JobId, wanted: Annotated[LogTail, InQuery()], db: Database, settings: Settings
) -> PlainTextResponse:
    """What the trainer printed; at most the last megabyte of it."""
    with db.read() as session:
        attempt = get_job(session, job_id).attempt
    return PlainTextResponse(_tail(settings.data_dir, job_id, wanted.attempt or attempt, wanted.tail))


def _tail(data_dir: Path, job_id: str, attempt: int, lines: int) -> str:
    if attempt == 0:
        return ""
    log = layout.attempt_folder(data_dir, job_id, attempt) / layout.TRAINER_LOG
    try:
        path, size = store.open_file(data_dir, str(log.relative_to(data_dir)))
    except FileGone:  # it printed nothing, or nothing yet
        return ""
    with path.open("rb") as file:
        file.seek(max(size - LOG_BYTES, 0))
        content = file.read(LOG_BYTES)
    lines += content.endswith(b"\n")
    # From the end, and no further than is asked for: each line is an object, and there may be a million.
    return b"\n".join(content.rsplit(b"\n", lines)[-lines:]).decode(errors="replace")


def _check_reference(job_id: str, checkpoint: str) -> None:
    if checkpoint not in ("best", "last") and not ids.is_id("ckpt", checkpoint):
        raise CheckpointNotFound(job_id, checkpoint[:100])
