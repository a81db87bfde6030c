"""Jobs: ask for one, look at it, stop it, and hear what it says."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi import Query as InQuery
from pydantic import AwareDatetime, Field
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from api import views
from api.dependencies import Database, JobId, Notifier, Query
from api.openapi import SUBMISSION_BODY
from api.submission import Submitted, check_teacher, printable
from jobs import ids, requests, store
from jobs.states import FINAL, State

router = APIRouter(prefix="/jobs", tags=["jobs"])

MAX_SEQ = 2**31 - 1


def _separate(given: Any) -> Any:
    """`?status=queued,running` is `?status=queued&status=running`."""
    return [part for text in given for part in str(text).split(",")] if isinstance(given, list) else given


def _cursor(given: str) -> str:
    if not ids.is_id("job", given):
        raise PydanticCustomError("cursor", "is no cursor; take `next_cursor` from the page before")
    return given


def _of_our_time(at: datetime) -> datetime:
    if not 1970 <= at.year <= 9000:
        raise PydanticCustomError("year", "should lie between the years 1970 and 9000")
    return at


class JobFilter(Query):
    limit: int = Field(default=20, ge=1, le=100)
    after: Annotated[str, AfterValidator(_cursor)] | None = Field(
        default=None, description="`next_cursor` of the page before"
    )
    status: Annotated[list[State], BeforeValidator(_separate)] = Field(default=[], max_length=10)
    mode: Literal["train", "guide"] | None = None
    label: Annotated[str, AfterValidator(printable)] | None = Field(
        default=None, max_length=330, description="`key=value`, or `key` for any value"
    )
    q: Annotated[str, AfterValidator(printable)] | None = Field(
        default=None, max_length=200, description="a part of the name, or the id"
    )
    created_after: Annotated[AwareDatetime, AfterValidator(_of_our_time)] | None = None

    @property
    def which(self) -> store.Filter:
        return store.Filter(self.status, self.mode, self.label, self.q, self.created_after)


class EventPage(Query):
    after: int = Field(default=0, ge=0, le=MAX_SEQ, description="the `seq` of the last event that is known")
    limit: int = Field(default=100, ge=1, le=1_000)


class Curves(Query):
    names: Annotated[list[str], BeforeValidator(_separate)] = Field(
        default=[], max_length=100, description="only these; default: all"
    )


LOCATION = {"Location": {"description": "where the job is", "schema": {"type": "string"}}}


@router.post("", status_code=201, openapi_extra=SUBMISSION_BODY, responses={201: {"headers": LOCATION}})
def submit_job(submission: Submitted, db: Database, notifier: Notifier, response: Response) -> views.Job:
    """Queue a distillation run."""
    with db.begin() as session:
        check_teacher(session, submission)
        job = store.add_job(
            session,
            submission.spec,
            given=submission.given,
            name=submission.name,
            labels=submission.labels,
            priority=submission.priority,
        )
    notifier.job_queued(job.id)  # after the commit: a worker may look at once
    response.headers["Location"] = views.job_url(job.id)
    return views.job(job)


@router.get("")
def list_jobs(wanted: Annotated[JobFilter, InQuery()], db: Database) -> views.Page[views.Job]:
    """Jobs, the newest first."""
    with db.read() as session:
        found = store.list_jobs(session, limit=wanted.limit, after=wanted.after, which=wanted.which)
    return views.page([views.job(job) for job in found.items], found.items[-1].id if found.has_more else None)


@router.get("/{job_id}")
def get_job(job_id: JobId, db: Database, response: Response) -> views.Job:
    """A job; `Retry-After` says when it is worth to look again."""
    with db.read() as session:
        job = store.get_job(session, job_id)
    if job.state not in FINAL:
        response.headers["Retry-After"] = "1"
    return views.job(job)


@router.post(
    "/{job_id}/cancel", status_code=202, responses={200: {"model": views.Job}, 409: {"description": "it has finished"}}
)
def cancel_job(job_id: JobId, db: Database, response: Response) -> views.Job:
    """Stop a job: at once if it waits, within seconds if it runs. 200 if that was asked before."""
    with db.begin() as session:
        job, changed = requests.cancel(session, job_id)
    response.status_code = 202 if changed else 200
    return views.job(job)


@router.get("/{job_id}/events")
def list_events(job_id: JobId, wanted: Annotated[EventPage, InQuery()], db: Database) -> views.Page[views.Event]:
    """What happened, in order; `seq` counts 1, 2, 3 … without a gap."""
    with db.read() as session:
        found = store.events_after(session, job_id, wanted.after, wanted.limit + 1)
    shown = [views.event(row) for row in found[: wanted.limit]]
    return views.page(shown, str(shown[-1].seq) if len(found) > wanted.limit else None)


@router.get("/{job_id}/metrics")
def get_metrics(job_id: JobId, wanted: Annotated[Curves, InQuery()], db: Database) -> views.Metrics:
    """Every curve of a job, column by column."""
    with db.read() as session:
        series = store.metric_series(session, job_id, wanted.names or None)
    return views.metrics(job_id, series)
