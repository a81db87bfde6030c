"""Polls the database for all requests that wait for news of a job: one small read, four times a second, for all."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import structlog
from starlette.concurrency import run_in_threadpool

from jobs.database.engine import UNREACHABLE, Sessions
from jobs.log import marks
from jobs.log.marks import Mark

LOOK_SECONDS = 0.25
LONG_POLLS = 500
STREAMS = 500
# So many streams read at a time: news of one job wakes all who listen to it, and other requests need threads too.
STREAM_READERS = 4

IsNews = Callable[[Mark | None], bool]
"""Whether a job's mark is what somebody waits for; None: the job is gone."""

log = structlog.get_logger()


@dataclass(eq=False)
class _Waiting:
    job_id: str
    is_news: IsNews
    answer: "asyncio.Future[bool]"


class Lookout:
    """Lives on the event loop; takes a thread for the moment of each read, and none while nobody waits."""

    def __init__(self, db: Sessions):
        self.long_polls, self.streams = Places(LONG_POLLS), Places(STREAMS)
        self.stream_readers = anyio.CapacityLimiter(STREAM_READERS)
        self.leaving = False
        self._db = db
        self._waiting: set[_Waiting] = set()
        self._looking: asyncio.Task[None] | None = None

    async def news(self, job_id: str, is_news: IsNews, seconds: float) -> bool:
        """Wait for news of a job. False if there was none in this time, or the server is about to leave."""
        if self.leaving:
            return False
        one = _Waiting(job_id, is_news, asyncio.get_running_loop().create_future())
        self._waiting.add(one)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait([one.answer], timeout=seconds)
            return one.answer.done() and one.answer.result()
        finally:
            self._waiting.discard(one)

    def leave(self) -> None:
        """Send everybody home, now and from now on."""
        self.leaving = True
        for one in self._waiting:
            if not one.answer.done():
                one.answer.set_result(False)

    async def close(self) -> None:
        self.leave()
        if self._looking is not None:
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while self._waiting and not self.leaving:
            await asyncio.sleep(LOOK_SECONDS)
            asked = list(self._waiting)
            try:
                found = await run_in_threadpool(self._read, {one.job_id for one in asked})
            except UNREACHABLE as error:
                log.warning("lookout_blind", error=str(error), recurs=True)
                continue
            for one in asked:
                if not one.answer.done() and one.is_news(found.get(one.job_id)):
                    one.answer.set_result(True)

    def _read(self, job_ids: set[str]) -> dict[str, Mark]:
        with self._db.read() as session:
            return marks.read(session, job_ids)


class Places:
    """How many may wait at once. Counted on the event loop, so without a lock."""

    def __init__(self, most: int):
        self.most, self.taken = most, 0

    @contextmanager
    def take(self) -> Iterator[bool]:
        """Whether there is a place; it is given back at the end of the block."""
        if self.taken >= self.most:
            yield False
            return
        self.taken += 1
        try:
            yield True
        finally:
            self.taken -= 1
