"""Students on their way out: files that run elsewhere, each held against the student before it is offered."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Query as InQuery

from api.dependencies import Database, JobId, Settings
from api.http import body, conditional
from api.http.pages import Page, PageQuery, cursor, page
from api.jobs import views
from api.jobs.shown import view_of
from jobs import ids
from jobs.queue import exports, place
from kd.spec.export import Export

router = APIRouter(prefix="/jobs/{job_id}/exports", tags=["exports"])

MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": views.Job, "description": "this very file has been made, or a job is at it"},
    202: {"headers": {"Location": {"description": "the job that makes it", "schema": {"type": "string"}}}},
    507: {"description": "there is no room for it on the disk"},
}


@router.post("", status_code=202, response_model=views.Job, responses=MADE, openapi_extra=body.reference(Export))
def export_student(
    job_id: JobId, wanted: Annotated[Export, Depends(body.of(Export))], db: Database, settings: Settings
) -> Response:
    """Make a file of a job's best student that runs elsewhere, by a job that waits behind no distillation. Its
    artifacts are the file, an archive with all that one needs to run it, and `verify.json`: how the two compare."""
    job, is_new = exports.export(db, settings, job_id, wanted)
    with db.read() as session:
        view = view_of(session, job)
    return conditional.answer(view, 202 if is_new else 200, {"Location": view.urls.self})


class ExportPage(PageQuery):
    after: str | None = cursor(ids.pattern("job"))


@router.get("")
def list_exports(job_id: JobId, query: Annotated[ExportPage, InQuery()], db: Database) -> Page[views.Job]:
    """The jobs that have made files of a job's student, or are at it, the newest first."""
    with db.read() as session:
        found = exports.list_exports(session, job_id, limit=query.limit, after=query.after)
        waiting = place.waiting(session, found.items)
    return page([views.job(job, waiting.get(job.id)) for job in found.items], found.next_cursor)
