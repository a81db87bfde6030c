"""Whether the database can be worked with, said in time also where it says nothing."""

import asyncio

from anyio import CapacityLimiter, to_thread

from api.http.problems import DatabaseSilent, NotReady
from jobs.database import migrate, writes
from jobs.database.engine import UNREACHABLE, Sessions

ANSWER_SECONDS = 2.0
"""Less than those who ask (Compose, a proxy) wait."""


class Readiness:
    """Lives on the event loop. One look at a time, in a thread of its own: whoever asks meanwhile shares it."""

    def __init__(self, db: Sessions):
        self._db, self._thread = db, CapacityLimiter(1)
        self._looking: asyncio.Task[Exception | None] | None = None

    async def check(self) -> None:
        """Raise what is in the way of jobs."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(to_thread.run_sync(self._look, limiter=self._thread))
        looking = self._looking
        await asyncio.wait([looking], timeout=ANSWER_SECONDS)
        if not looking.done():
            raise DatabaseSilent(ANSWER_SECONDS)
        if (trouble := looking.result()) is not None:
            raise trouble

    def _look(self) -> Exception | None:
        try:
            if not migrate.is_current(self._db):
                return NotReady("The database's tables are not those of this version: run `alembic upgrade head`.")
            if (refusal := writes.find_refusal(self._db)) is not None:
                return NotReady(str(refusal))
        except UNREACHABLE as error:
            return error
        return None
