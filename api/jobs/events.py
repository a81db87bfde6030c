"""What jobs say: events, as pages and as a stream."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi import Query as InQuery
from pydantic import Field

from api.dependencies import Database, JobId, Lookout
from api.http import pages
from api.http.accept import is_preferred
from api.http.problems import Invalid
from api.http.queries import Query
from api.jobs import views
from api.live import stream
from jobs.job import get_job as read_job
from jobs.log.events import page_after
from jobs.states import FINAL
from kd.spec.faults import Fault

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

MAX_SEQ = 2**31 - 1


class EventPage(Query):
    after: int = Field(default=0, ge=0, le=MAX_SEQ, description="the `seq` of the last event that is known")
    limit: int = Field(default=100, ge=1, le=1_000)


EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {stream.MEDIA_TYPE: {"schema": {"type": "string"}}}},
    204: {"description": "a stream was asked for, and the job has ended and has no more to say"},
    503: {"description": "too many streams are open"},
}


@router.get("/events", response_model=pages.Page[views.Event], responses=EVENTS)
def list_events(
    job_id: JobId,
    wanted: Annotated[EventPage, InQuery()],
    db: Database,
    lookout: Lookout,
    response: Response,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[str | None, Header(description="of a stream: the last `id` that came")] = None,
) -> pages.Page[views.Event] | Response:
    """What happened, in order; `seq` counts 1, 2, 3 … without a gap.

    With `Accept: text/event-stream` as server-sent events, the old ones and then each as it happens, until the job
    has ended: `id` is the `seq`, `event` the type, `data` the same JSON as in a page.
    """
    if not is_preferred(accept, stream.MEDIA_TYPE):
        part = _events(db, job_id, wanted.after, wanted.limit)
        response.headers["Vary"] = "Accept"
        return pages.page(part.events, None if part.is_whole else str(part.events[-1].seq))
    if "limit" in wanted.model_fields_set:
        raise Invalid([Fault("/limit", "is for pages; a stream has no other end than the job's", "query")])
    after = stream.last_seen(last_event_id, wanted.after, MAX_SEQ)
    read = partial(_events, db, job_id)
    first = read(after, 1)
    stream.refuse_beyond(first.newest, after, last_event_id)
    if first.is_last and not first.events:
        return Response(status_code=204)  # tells browsers not to connect again
    return stream.EventStream(lookout, job_id, read, after)


def _events(db: Database, job_id: str, after: int, limit: int) -> stream.Part[views.Event]:
    with db.read() as session:
        job = read_job(session, job_id)
        found = page_after(session, job_id, after, limit)
    events = [views.event(row) for row in found.items]
    return stream.Part(events, found.next_cursor is None, job.state in FINAL, job.events_seq)
