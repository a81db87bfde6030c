"""Jobs: look at them, stop them, change them."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery
from pydantic import AwareDatetime, Field
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy.orm import Session

from api.dependencies import Database, JobId, Lanes, Lookout, Notifier, Settings
from api.http import conditional, pages
from api.http.conditional import IfNoneMatch, represent
from api.http.pages import PageQuery
from api.http.problems import Invalid
from api.http.queries import Query, separate
from api.jobs import views
from api.jobs.body import CHANGE_BODY, Changed
from api.jobs.shown import Unchanged, view_of
from api.jobs.submit import CONFLICTS
from api.live.long_poll import Look, Wait, look_when_changed
from jobs import ids
from jobs.envelope import label_key, printable
from jobs.files import store
from jobs.job import get_job as read_job
from jobs.log import marks
from jobs.queue import delete, find, place, requests
from jobs.states import FINAL, State
from jobs.tables import Job
from kd.spec.faults import Fault

router = APIRouter(prefix="/jobs", tags=["jobs"])


def _of_our_time(at: datetime) -> datetime:
    if not 1970 <= at.year <= 9000:
        raise PydanticCustomError("year", "should lie between the years 1970 and 9000")
    return at


def _whole(at: object) -> object:
    # `+` means a space in a query, so it comes here as one: 2026-01-15T12:00:00 01:00.
    if isinstance(at, str) and re.search(r"T\S+ \d\d:?\d\d$", at):
        raise PydanticCustomError("plus", "has lost a +, which means a space in a URL: say %2B, or use UTC with Z")
    return at


def _with_a_key(label: str) -> str:
    label_key(label.partition("=")[0])
    return label


class JobFilter(Query):
    """Which jobs are meant."""

    status: Annotated[list[State], BeforeValidator(separate)] = Field(default=[], max_length=10)
    mode: Literal["train", "guide", "ingest", "evaluate", "export"] | None = Field(
        default=None,
        description="without it, distillations: light work must be asked for",
    )
    label: Annotated[str, AfterValidator(printable), AfterValidator(_with_a_key)] | None = Field(
        default=None, max_length=330, description="`key=value`, or `key` for any value"
    )
    q: Annotated[str, AfterValidator(printable)] | None = Field(
        default=None, max_length=200, description="a part of the name, or the id"
    )
    created_after: Annotated[AwareDatetime, AfterValidator(_of_our_time), BeforeValidator(_whole)] | None = None

    @property
    def which(self) -> find.Filter:
        return find.Filter(self.status, self.mode, self.label, self.q, self.created_after)


class JobPage(PageQuery, JobFilter):
    after: str | None = pages.cursor(ids.pattern("job"))


class Many(JobFilter):
    all: bool = Field(default=False, description="yes, every job: without a filter this must be said")

    @property
    def which(self) -> find.Filter:
        if super().which.is_empty and not self.all:
            raise Invalid([Fault("", "needs a filter, such as status=queued; all=true means every job", "query")])
        return super().which


ASKED: dict[int | str, dict[str, Any]] = {
    200: {"model": views.Job, "description": "that was so before"},
    **CONFLICTS,
}


@router.get("")
def list_jobs(wanted: Annotated[JobPage, InQuery()], db: Database) -> pages.Page[views.Job]:
    """Jobs, the newest first."""
    with db.read() as session:
        found = find.list_jobs(session, limit=wanted.limit, after=wanted.after, which=wanted.which)
        waiting = place.waiting(session, found.items)
    jobs = [views.job(job, waiting.get(job.id)) for job in found.items]
    return pages.page(jobs, found.next_cursor)


@router.get(
    "/{job_id}", response_model=views.Job, responses={304: {"description": "`If-None-Match` names it: you have it"}}
)
async def get_job(
    job_id: JobId,
    db: Database,
    lanes: Lanes,
    lookout: Lookout,
    request: Request,
    if_none_match: IfNoneMatch,
    wait: Wait,
) -> Response:
    """A job; `Retry-After` says when it is worth to look again.

    With `Prefer: wait=30` the answer comes when the job is another than `If-None-Match` says, or after so many
    seconds. Only the job's own changes end the wait: its place in the queue moves with those of others, and does not.
    """
    look = partial(lanes.read, partial(_look, db, job_id))
    found, waited = await look_when_changed(request, lookout, look, if_none_match, wait)
    headers = {} if found.has_ended else {"Retry-After": "1"}
    if waited is not None:
        headers["Preference-Applied"] = f"wait={waited}"
    return conditional.respond(request, found.shown, headers)


def _look(db: Database, job_id: str) -> Look:
    with db.read() as session:
        job = read_job(session, job_id)
        return Look(job_id, represent(view_of(session, job)), marks.of(job), job.state in FINAL)


@router.post("/{job_id}/cancel", status_code=202, response_model=views.Job, responses=ASKED)
def cancel_job(job_id: JobId, unchanged: Unchanged, db: Database) -> Response:
    """Stop a job: at once if it waits, within seconds if it runs. 200 if that was asked before."""
    return _ask(db, job_id, unchanged, requests.cancel)


@router.post("/{job_id}/pause", status_code=202, response_model=views.Job, responses=ASKED)
def pause_job(job_id: JobId, unchanged: Unchanged, db: Database) -> Response:
    """Put a job aside, with all that was done of it, until it is resumed. 200 if that was asked before."""
    return _ask(db, job_id, unchanged, requests.pause)


@router.post("/{job_id}/resume", status_code=202, response_model=views.Job, responses=ASKED)
def resume_job(job_id: JobId, unchanged: Unchanged, db: Database, notifier: Notifier) -> Response:
    """Queue a paused job, to go on from where it stood; or take back a pause that has only been asked for."""
    answer = _ask(db, job_id, unchanged, requests.resume)
    if answer.status_code == 202:
        notifier.job_queued(job_id)
    return answer


def _ask(db: Database, job_id: str, unchanged: Unchanged, what: Callable[[Session, str], tuple[Job, bool]]) -> Response:
    with db.begin() as session:
        unchanged.check(session, job_id)
        job, changed = what(session, job_id)
        view = view_of(session, job)
    return conditional.answer(view, 202 if changed else 200)


@router.patch("/{job_id}", response_model=views.Job, openapi_extra=CHANGE_BODY, responses={412: ASKED[412]})
def change_job(job_id: JobId, change: Changed, unchanged: Unchanged, db: Database) -> Response:
    """Another name, other labels, another priority. What is not named stays."""
    with db.begin() as session:
        unchanged.check(session, job_id)
        view = view_of(session, requests.change(session, job_id, change))
    return conditional.answer(view)


@router.delete("/{job_id}", status_code=204, responses={409: ASKED[409], 412: ASKED[412]})
def delete_job(job_id: JobId, unchanged: Unchanged, db: Database, settings: Settings) -> None:
    """Forget a job that has ended, and delete its files."""
    with db.begin() as session:
        unchanged.check(session, job_id)
        delete.delete_job(session, job_id)
    store.delete_jobs(settings.data_dir, [job_id])


@router.post("/cancel")
def cancel_jobs(wanted: Annotated[Many, InQuery()], db: Database) -> views.Bulk:
    """Cancel every job that matches and has not ended: all of them, or none if something goes wrong."""
    with db.begin() as session:
        return views.bulk(requests.cancel_all(session, find.matching(session, wanted.which)))


@router.delete("")
def delete_jobs(wanted: Annotated[Many, InQuery()], db: Database, settings: Settings) -> views.Bulk:
    """Delete every job that matches, has ended, and lends no model to one that has not."""
    with db.begin() as session:
        deleted = delete.delete_all(session, find.matching(session, wanted.which))
    store.delete_jobs(settings.data_dir, deleted)
    return views.bulk(deleted)
