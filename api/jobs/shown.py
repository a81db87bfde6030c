"""A job as everybody is shown it, and whether it is still as a client saw it."""

from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy.orm import Session

from api.http.conditional import names, represent
from api.http.problems import PreconditionFailed
from api.jobs import views
from jobs.job import get_job, lock_job
from jobs.queue import place
from jobs.tables import Job


def view_of(session: Session, job: Job) -> views.Job:
    """A job as everybody is shown it, its place in the queue included."""
    return views.job(job, place.waiting(session, [job]).get(job.id))


class IfMatch:
    """The `If-Match` of a request that changes a job; without one everything is allowed."""

    def __init__(self, condition: str | None):
        self._condition = condition

    def check(self, session: Session, job_id: str) -> None:
        """Raise `PreconditionFailed` if the job is not, or no longer, as the client saw it.

        Until the transaction ends it stays as it is.
        """
        if self._condition is not None:
            lock_job(session, job_id)
            self.look(session, job_id)

    def look(self, session: Session, job_id: str) -> None:
        """The same, as it is at this moment."""
        if self._condition is None:
            return
        now = represent(view_of(session, get_job(session, job_id)))
        if not names(self._condition, now.etag, weak=False):
            raise PreconditionFailed(now.etag)


async def _if_match(
    request: Request, if_match: Annotated[str | None, Header(description="only if the job still has this ETag")] = None
) -> IfMatch:
    return IfMatch(", ".join(request.headers.getlist("if-match")) if if_match is not None else None)


Unchanged = Annotated[IfMatch, Depends(_if_match)]
