"""Two ways to ask for a new job: submit one, or retry one that has ended."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from api.dependencies import Database, JobId, Lanes, Notifier, Settings
from api.http import conditional, idempotency
from api.jobs import retry, views
from api.jobs.body import RETRY_BODY, SUBMISSION_BODY, Retried, Submitted
from api.jobs.shown import Unchanged, view_of
from jobs.queue.estimate import estimate
from jobs.queue.preflight import look_ahead
from jobs.queue.submit import Idempotency, Submission, submit
from jobs.tables import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])

LOCATION = {"Location": {"description": "where the job is", "schema": {"type": "string"}}}
MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": views.Job, "description": "this very request has made it before (`Idempotency-Key`)"},
    201: {"headers": LOCATION},
    507: {"description": "the disk, or what jobs may take of it, is full"},
}
CONFLICTS: dict[int | str, dict[str, Any]] = {
    409: {"description": "the job's state does not allow it; `allowed` says what it does"},
    412: {"description": "the job is no longer as `If-Match` says"},
}


@router.post("", status_code=201, response_model=views.Job, openapi_extra=SUBMISSION_BODY, responses=MADE)
async def submit_job(
    wanted: Submitted, key: idempotency.Key, db: Database, notifier: Notifier, settings: Settings, lanes: Lanes
) -> Response:
    """Queue a distillation run."""
    request = Idempotency.of(key, "/jobs", wanted.body)
    add = partial(submit, db, settings, lambda session: wanted.submission, idempotency=request)
    return await lanes.write(partial(_answer, db, notifier, add))


@router.post("/validate", openapi_extra=SUBMISSION_BODY, responses={507: MADE[507]})
async def validate_job(wanted: Submitted, db: Database, settings: Settings, lanes: Lanes) -> views.Preflight:
    """Whether POST /jobs would take this, and what would come of it; no job is made. What it would refuse is refused
    here with the same answer."""
    return await lanes.write(partial(_foresee, db, settings, wanted.submission))


def _foresee(db: Database, settings: Settings, submission: Submission) -> views.Preflight:
    found = look_ahead(db, settings, submission)
    with db.read() as session:
        seconds = estimate(session, submission.spec.config, found, settings.data_dir)
    return views.preflight(submission, found, seconds)


@router.post(
    "/{job_id}/retry",
    status_code=201,
    response_model=views.Job,
    openapi_extra=RETRY_BODY,
    responses={**MADE, **CONFLICTS},
)
async def retry_job(
    job_id: JobId,
    wanted: Retried,
    key: idempotency.Key,
    unchanged: Unchanged,
    db: Database,
    notifier: Notifier,
    settings: Settings,
    lanes: Lanes,
) -> Response:
    """Queue the same run once more, as a new job; with a patch of its spec if you like."""
    request = Idempotency.of(key, f"/jobs/{job_id}/retry", wanted.body)
    draft = partial(retry.draft, data_dir=settings.data_dir, job_id=job_id, retry=wanted.retry, unchanged=unchanged)
    confirm = partial(unchanged.check, job_id=job_id)
    add = partial(submit, db, settings, draft, confirm=confirm, idempotency=request)
    return await lanes.write(partial(_answer, db, notifier, add))


def _answer(db: Database, notifier: Notifier, add: Callable[[], tuple[Job, bool]]) -> Response:
    job, is_new = add()
    if is_new:
        notifier.job_queued(job.id)  # after the commit: a worker may look at once
    headers = {"Location": views.job_url(job.id), **({} if is_new else idempotency.REPLAYED)}
    with db.read() as session:  # and not while nobody else can write
        view = view_of(session, job)
    return conditional.answer(view, 201 if is_new else 200, headers)
