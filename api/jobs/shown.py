"""A job as everybody is shown it, and whether it is still as a client saw it."""

from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy.orm import Session

from api.http.conditional import field, matches, names, represent
from api.http.problems import PreconditionFailed
from api.jobs import views
from jobs.job import get_job, lock_job
from jobs.queue import place
from jobs.tables import Job


def view_of(session: Session, job: Job) -> views.Job:
    """A job as everybody is shown it, its place in the queue included."""
    return views.job(job, place.waiting(session, [job]).get(job.id))


class Conditions:
    """The `If-Match` and `If-None-Match` of a request that changes a job; without them everything is allowed."""

    def __init__(self, if_match: str | None, if_none_match: str | None):
        self._if_match, self._if_none_match = if_match, if_none_match

    def check(self, session: Session, job_id: str) -> None:
        """Raise `PreconditionFailed` if the job is not, or no longer, as the client saw it.

        Until the transaction ends it stays as it is.
        """
        if not self._are_none:
            lock_job(session, job_id)
            self.look(session, job_id)

    def look(self, session: Session, job_id: str) -> None:
        """The same, as it is at this moment."""
        if self._are_none:
            return
        now = represent(view_of(session, get_job(session, job_id)))
        if self._if_match is not None and not names(self._if_match, now.etag, weak=False):
            raise PreconditionFailed("job", "If-Match", now.etag)
        if matches(self._if_none_match, now.etag):
            raise PreconditionFailed("job", "If-None-Match", now.etag)

    @property
    def _are_none(self) -> bool:
        return self._if_match is None and self._if_none_match is None


async def _conditions(
    request: Request, if_match: Annotated[str | None, Header(description="only if the job still has this ETag")] = None
) -> Conditions:
    return Conditions(field(request, "if-match"), field(request, "if-none-match"))


Unchanged = Annotated[Conditions, Depends(_conditions)]
