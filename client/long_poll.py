"""Look at a job again as soon as there is something new to see: a long poll, paced for servers that know none."""

import math
import time
from dataclasses import dataclass

from client.errors import NotAServer
from client.http import Http, Json

# The longest that a server is asked to hold its answer back: proxies give up on a silent connection after a minute.
LONG_POLL_SECONDS = 30


@dataclass(frozen=True)
class Look:
    """A job as it was, the tag by which the server knows whether it has changed since, and when we asked."""

    job: Json
    tag: str | None
    asked_at: float

    @property
    def is_last(self) -> bool:
        return bool(self.job["is_terminal"])


def look(http: Http, path: str) -> Look:
    """The job as it is now."""
    return _look(http, path, {}, None)


def look_again(http: Http, path: str, last: Look, *, pause_seconds: float, until: float | None = None) -> Look:
    """The job once it has changed since the last look, or as it is when half a minute has passed, or at `until`.

    Asks at least `pause_seconds` after the last time: a running job changes all the time, and a server that does not
    hold its answer back answers at once.
    """
    _sleep(last.asked_at + pause_seconds, until)
    left = math.inf if until is None else until - time.monotonic()
    if left <= 0:
        return last
    hold = math.ceil(min(LONG_POLL_SECONDS, left))
    headers = {} if last.tag is None else {"If-None-Match": last.tag, "Prefer": f"wait={hold}"}
    return _look(http, path, headers, last, min(hold + http.timeout_seconds, left))


def _look(
    http: Http, path: str, headers: dict[str, str], last: Look | None, timeout_seconds: float | None = None
) -> Look:
    asked_at = time.monotonic()
    answer = http.answer("GET", path, headers=headers, timeout_seconds=timeout_seconds)
    if answer.status_code != 304:
        return Look(http.content(answer), answer.headers.get("ETag"), asked_at)
    if last is None:
        raise NotAServer(http.url)
    return Look(last.job, last.tag, asked_at)


def _sleep(moment: float, until: float | None) -> None:
    wake_at = moment if until is None else min(moment, until)
    time.sleep(max(wake_at - time.monotonic(), 0.0))
