"""Wait for the end of a job: by long polls, paced for servers that know none."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from client.answers import Job, Json
from client.errors import ClientError, NotAServer, StillRunning
from client.http import Http
from client.patience import LONG_POLL_SECONDS, ask_patiently, sleep_until


@dataclass(frozen=True)
class Look:
    """A job as it was, the tag by which the server knows whether it has changed since, and when we asked."""

    job: Json
    tag: str | None
    asked_at: float

    @property
    def is_last(self) -> bool:
        return bool(self.job["is_terminal"])


def wait(http: Http, path: str, timeout_seconds: float | None, poll_seconds: float) -> Json:
    """The job once it is over; `StillRunning` after the timeout. The server may be restarted meanwhile."""
    until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    last = ask_patiently(lambda: _look(http, path))
    while not last.is_last:
        if until is not None and time.monotonic() >= until:
            raise StillRunning(last.job, timeout_seconds or 0)
        try:
            last = ask_patiently(partial(_look_again, http, path, last, poll_seconds, until), until=until)
        except ClientError as error:
            if not error.passing or until is None or time.monotonic() < until:
                raise
    return last.job


def _look_again(http: Http, path: str, last: Look, pause_seconds: float, until: float | None) -> Look:
    """The job once it has changed since the last look, or as it is when half a minute has passed, or at `until`.

    Asks at least `pause_seconds` after the last time: a running job changes all the time, and a server that does not
    hold its answer back answers at once.
    """
    asking_at = last.asked_at + pause_seconds
    sleep_until(asking_at if until is None else min(asking_at, until))
    left = math.inf if until is None else until - time.monotonic()
    if left <= 0:
        return last
    hold = math.ceil(min(LONG_POLL_SECONDS, left))
    headers = {} if last.tag is None else {"If-None-Match": last.tag, "Prefer": f"wait={hold}"}
    return _look(http, path, headers, last, min(hold + http.timeout_seconds, left))


def _look(
    http: Http,
    path: str,
    headers: Mapping[str, str] | None = None,
    last: Look | None = None,
    timeout_seconds: float | None = None,
) -> Look:
    asked_at = time.monotonic()
    answer = http.request("GET", path, headers=headers, timeout_seconds=timeout_seconds)
    if answer.status != 304:
        return Look(http.json_object(answer.content, Job), answer.headers.get("ETag"), asked_at)
    if last is None:
        raise NotAServer(http.url, "it says that nothing has changed, and nobody asked")
    return Look(last.job, last.tag, asked_at)
