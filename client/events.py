"""What has happened to a job, in order: all of it so far, or on until the job is over."""

import time
from collections.abc import Callable, Iterator

from client.answers import Event, Job, Json, Page
from client.errors import ClientError, NotAServer
from client.http import Http
from client.patience import ask_patiently, sleep_until

PAGE_SIZE = 1_000


def so_far(http: Http, path: str, after: int) -> Iterator[Json]:
    """The events of the job at `path` after this one."""
    return _pages(lambda after: _page(http, path, after), after)


def follow(http: Http, path: str, after: int, poll_seconds: float) -> Iterator[Json]:
    """The same, and those to come: told by the server, or asked for every `poll_seconds` where it has no streams."""
    while True:
        asked_at = time.monotonic()
        # Asked before the events: of the run of a job that is over now nothing comes after them.
        over = ask_patiently(lambda: http.request_json("GET", path, holds=Job))["is_terminal"]
        for event in _pages(lambda after: ask_patiently(lambda: _page(http, path, after)), after):
            after = event["seq"]
            yield event
        if over:
            return
        for event in _listen(http, path, after):
            after = event["seq"]
            yield event
        sleep_until(asked_at + poll_seconds)


def _pages(ask: Callable[[int], Json], after: int) -> Iterator[Json]:
    more = True
    while more:
        page = ask(after)
        for event in page["data"]:
            after = event["seq"]
            yield event
        more = page["has_more"]


def _page(http: Http, path: str, after: int) -> Json:
    page = http.request_json("GET", f"{path}/events", holds=Page, params={"after": after, "limit": PAGE_SIZE})
    for event in page["data"]:
        if http.checked(event, Event)["seq"] <= after:
            raise NotAServer(http.url, "its events are not in order")
        after = event["seq"]
    if page["has_more"] and not page["data"]:
        raise NotAServer(http.url, "its list of events has no end")
    return page


def _listen(http: Http, path: str, after: int) -> Iterator[Json]:
    """Events as they happen, until the stream ends or breaks."""
    try:
        for event in http.listen(f"{path}/events", after):
            if event["seq"] > after:
                yield event
    except ClientError as error:
        if not error.passing:
            raise
