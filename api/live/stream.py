"""A job's events as they happen: server-sent events, each with its `seq` as id, resumable by `Last-Event-ID`."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog
from anyio import to_thread
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.http.head import is_head
from api.http.problems import Invalid, TooManyStreams
from api.live.lookout import Lookout
from jobs.database.engine import UNREACHABLE
from jobs.errors import JobNotFound
from kd.spec.faults import Fault

MEDIA_TYPE = "text/event-stream"
# Proxies, and clients, give up on a connection that is silent for long.
HEARTBEAT_SECONDS = 15.0
PAGE = 500

# Nothing on the way may keep it, nor gather it.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}

log = structlog.get_logger()


class Event(Protocol):
    """An event as clients are shown it."""

    seq: int
    type: str

    def model_dump_json(self) -> str: ...


AnyEvent = TypeVar("AnyEvent", bound=Event, covariant=True)


@dataclass(frozen=True)
class Part(Generic[AnyEvent]):
    """Events that follow each other, as they were at one moment."""

    events: Sequence[AnyEvent]
    is_whole: bool
    """No other followed them."""
    has_ended: bool
    """The job had."""
    newest: int
    """The number of its last event."""

    @property
    def is_last(self) -> bool:
        return self.is_whole and self.has_ended


Read = Callable[[int, int], Part[Event]]
"""The events after this number, at most so many."""


class EventStream(EventSourceResponse):
    """Every event after a number, and then each that happens, until the job has ended.

    Gapless: a client that reads on from the last id it got misses none, and nor does this, which does the same.
    """

    def __init__(self, lookout: Lookout, job_id: str, read: Read, after: int):
        self._lookout, self._job_id, self._read = lookout, job_id, read
        super().__init__(self._chunks(after), headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_head(scope):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body"})
            return
        # Here, not in the generator: one that is never begun never ends, and would keep its place for ever.
        with self._lookout.streams.take() as has_place:
            if not has_place:
                raise TooManyStreams(self._lookout.streams.most)
            await super().__call__(scope, receive, send)

    async def _chunks(self, seq: int) -> AsyncIterator[bytes]:
        while not self._lookout.leaving:
            try:
                part, blocks = await to_thread.run_sync(self._next, seq, limiter=self._lookout.stream_readers)
            except JobNotFound:  # deleted meanwhile; a client that connects again is told
                return
            except UNREACHABLE as error:  # a client that connects again goes on from here
                log.warning("event_stream_broken", job_id=self._job_id, error=str(error), recurs=True)
                return
            for block in blocks:  # one by one: a client that does not read holds up no more than that
                yield block
            if part.events:
                seq = part.events[-1].seq
            if part.is_last:
                return
            if part.is_whole:
                async for beat in self._heartbeats_until_after(seq):
                    yield beat

    def _next(self, seq: int) -> tuple[Part[Event], list[bytes]]:
        """In a thread: what follows, as it goes out."""
        part = self._read(seq, PAGE)
        return part, [_format(event) for event in part.events]

    async def _heartbeats_until_after(self, seq: int) -> AsyncIterator[bytes]:
        """Heartbeats, until there is an event after this one."""
        while not await self._lookout.news(
            self._job_id, lambda mark: mark is None or mark.events_seq > seq, HEARTBEAT_SECONDS
        ):
            if self._lookout.leaving:
                return
            yield KEEPALIVE_COMMENT


def _format(event: Event) -> bytes:
    kind = " ".join(event.type.split())  # a line's end would begin another field
    return format_sse_event(id=str(event.seq), event=kind, data_str=event.model_dump_json())


def last_seen(last_event_id: str | None, after: int, most: int) -> int:
    """Where a stream begins. `Last-Event-ID` wins: a browser that connects again repeats the URL of its first time."""
    if last_event_id is None:
        return after
    if not re.fullmatch(r"\d{1,10}", last_event_id, re.ASCII) or int(last_event_id) > most:
        raise Invalid([Fault("/Last-Event-ID", "is no id of this stream: they are the numbers of events", "header")])
    return int(last_event_id)


def refuse_beyond(newest: int, after: int, last_event_id: str | None) -> None:
    """A client that has seen what never happened here, perhaps of another job or before a backup came back, would wait
    for an event that comes far too late, or never."""
    if after > newest:
        why = f"is beyond this job's last event, which is {newest}"
        in_query, in_header = Fault("/after", why, "query"), Fault("/Last-Event-ID", why, "header")
        raise Invalid([in_query if last_event_id is None else in_header])
