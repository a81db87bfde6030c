"""Hold an answer back until there is something new to say: `Prefer: wait=30` (RFC 7240)."""

import operator
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request

from api.http import conditional
from api.http.conditional import Representation
from api.live.lookout import Lookout
from jobs.log.marks import Mark

MOST_SECONDS = 60
# How often a long poll looks whether its client is still there.
PATIENCE_SECONDS = 1.0

SECONDS = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Look:
    """A job as it was at one moment."""

    job_id: str
    shown: Representation
    mark: Mark
    has_ended: bool


async def look_when_changed(
    request: Request,
    lookout: Lookout,
    look: Callable[[], Awaitable[Look]],
    if_none_match: str | None,
    seconds: int | None,
) -> tuple[Look, int | None]:
    """The job once it is another than the one that the client has, or when the time is over.

    Also says how many seconds the client's wish was cut to; None if it was not to wait, or too many do already.
    A client that names no ETag has what is there now, and waits for the next change unless the job has ended.
    """
    found = await look()
    if seconds is None:
        return found, None
    with lookout.long_polls.take() as has_place:
        if not has_place:
            return found, None
        until = time.monotonic() + seconds
        known = if_none_match or ("" if found.has_ended else found.shown.etag)
        while conditional.matches(known, found.shown.etag) and (left := until - time.monotonic()) > 0:
            changed = partial(operator.ne, found.mark)
            has_news = await lookout.news(found.job_id, changed, min(left, PATIENCE_SECONDS))
            if not has_news and (lookout.leaving or await request.is_disconnected()):
                break
            if has_news or time.monotonic() >= until:  # the place in the queue has moved without any news
                found = await look()
        return found, seconds


def _seconds(prefer: str) -> int | None:
    """Of the first `wait`; what is not understood is to be ignored, says the RFC."""
    for one in prefer.split(","):
        name, _, wish = one.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = wish.strip().removeprefix('"').removesuffix('"').strip()
            return min(int(seconds), MOST_SECONDS) if SECONDS.fullmatch(seconds) else None
    return None


async def _wait(
    request: Request,
    prefer: Annotated[
        str | None,
        Header(description=f"`wait=30`: answer when it has changed, or after so many seconds (≤ {MOST_SECONDS})"),
    ] = None,
) -> int | None:
    return _seconds(",".join(request.headers.getlist("prefer"))) if prefer is not None else None


Wait = Annotated[int | None, Depends(_wait)]
