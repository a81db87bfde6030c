"""A job's report in the form that one asks for: as JSON, as a page, or as the model card of its student."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi import Query as InQuery
from pydantic import Field

from api.dependencies import Database, JobId, Settings
from api.files.routes import BINARY
from api.http import download
from api.http.accept import is_preferred
from api.http.conditional import CONDITIONS
from api.http.queries import Query
from jobs.files import find, store
from kd import outputs

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])

Form = Literal["json", "html", "card"]

HTML, MARKDOWN = "text/html", "text/markdown"
FILES: dict[Form, str] = {"json": outputs.REPORT, "html": outputs.PAGE, "card": outputs.CARD}

CONTENT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object"}},
    HTML: {"schema": {"type": "string"}},
    MARKDOWN: {"schema": {"type": "string"}},
}
RESPONSES = {status: it | ({"content": CONTENT} if status in (200, 206) else {}) for status, it in BINARY.items()}


class ReportQuery(Query):
    format: Form | None = Field(default=None, description="default: as `Accept` says, or JSON")


@router.get("/report", response_class=Response, responses=RESPONSES, openapi_extra=CONDITIONS)
def get_report(
    job_id: JobId,
    wanted: Annotated[ReportQuery, InQuery()],
    request: Request,
    db: Database,
    settings: Settings,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Teacher, student and control side by side, with all that was found: to reckon with, to look at, or to pass on
    with the weights. The page has no scripts and loads nothing."""
    with db.read() as session:
        found = find.report(session, job_id, FILES[wanted.format or _preferred(accept)])
    path, _ = store.open_file(settings.data_dir, found.path)
    answer = download.serve(
        request,
        path,
        name=found.name,
        size=found.size,
        sha256=found.sha256,
        made_at=found.created_at,
        saved_as=f"{job_id}-{found.name}",
        shown=True,
    )
    answer.headers["Vary"] = "Accept"
    return answer


def _preferred(accept: str | None) -> Form:
    if is_preferred(accept, HTML):
        return "html"
    return "card" if is_preferred(accept, MARKDOWN) else "json"
