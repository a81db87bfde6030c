"""The stream of a job's events: every one of them once, until the job has ended."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.http.accept import is_preferred
from api.live import stream
from jobs import pages
from jobs.queue import leases, recording, requests
from jobs.states import State

STREAM = {"Accept": "text/event-stream"}


def said(text: str) -> list[dict[str, str]]:
    """The events in a stream, field by field; comments are left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_a_stream_tells_every_event_until_the_job_has_ended(
    client: TestClient, submit: Any, worker: Any, later: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    for number in range(3):
        worker.record(claim, events=[{"type": "noted", "data": {"number": number}}])
    later(
        lambda session: recording.record(session, claim, events=[{"type": "noted", "data": {"number": 3}}]),
        lambda session: leases.release(session, claim, State.SUCCEEDED, result={"metrics": {}}),
    )

    answer = client.get(job["urls"]["events"], headers=STREAM)

    pages = client.get(job["urls"]["events"]).json()["data"]
    heard = said(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert [json.loads(event["data"]) for event in heard] == pages
    assert [event["id"] for event in heard] == [str(number) for number in range(1, len(pages) + 1)]
    assert [event["event"] for event in heard] == [event["type"] for event in pages]


def test_a_stream_with_nothing_to_tell_says_that_it_lives(
    client: TestClient, submit: Any, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)
    job = submit()
    later(lambda session: requests.cancel(session, job["id"]), pause_seconds=1.0)  # ten times as long

    answer = client.get(job["urls"]["events"], headers=STREAM)

    assert ": ping" in answer.text.split("\n")
    assert [event["id"] for event in said(answer.text)] == ["1", "2"]


def test_a_stream_goes_on_after_the_last_event_that_was_heard(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    worker.release(worker.claim(job), State.FAILED)
    count = len(client.get(job["urls"]["events"]).json()["data"])

    rest = client.get(f"{job['urls']['events']}?after=0", headers=STREAM | {"Last-Event-ID": "2"})
    nothing = client.get(job["urls"]["events"], headers=STREAM | {"Last-Event-ID": str(count)})

    assert [event["id"] for event in said(rest.text)] == [str(number) for number in range(3, count + 1)]
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99999999999", ""])
def test_what_is_no_id_of_an_event_is_refused(client: TestClient, submit: Any, problem_in: Any, last: str) -> None:
    answer = client.get(submit()["urls"]["events"], headers=STREAM | {"Last-Event-ID": last})

    (fault,) = problem_in(answer, 422, "invalid")["errors"]
    assert (fault["in"], fault["pointer"]) == ("header", "/Last-Event-ID")


@pytest.mark.parametrize(("asked", "place"), [({"params": {"after": 3}}, "query"), ({}, "header")])
def test_who_has_heard_more_than_was_said_is_told_so(
    client: TestClient, submit: Any, problem_in: Any, asked: dict[str, Any], place: str
) -> None:
    headers = STREAM if asked else STREAM | {"Last-Event-ID": "3"}

    (fault,) = problem_in(client.get(submit()["urls"]["events"], headers=headers, **asked), 422, "invalid")["errors"]

    assert (fault["in"], fault["message"]) == (place, "is beyond this job's last event, which is 1")


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("text/event-stream", True),
        ("text/event-stream, application/json;q=0.5", True),
        ("application/json, text/event-stream;q=0.9", False),
        ("*/*", False),
        ("text/*", True),
        ("text/event-stream;q=0", False),
        ("text/html", False),
    ],
)
def test_who_prefers_json_gets_pages(accept: str, streams: bool) -> None:
    assert is_preferred(accept, "text/event-stream") is streams


def test_caches_are_told_that_pages_and_streams_are_two_answers(client: TestClient, submit: Any) -> None:
    assert client.get(f"/jobs/{submit()['id']}/events").headers["vary"] == "Accept"


def test_there_is_no_stream_of_a_job_that_is_not_there(client: TestClient, problem_in: Any) -> None:
    problem_in(client.get("/jobs/job_01J00000000000000000000000/events", headers=STREAM), 404, "job_not_found")


def test_pages_and_streams_of_large_events_are_cut_by_their_bytes_and_miss_none(
    client: TestClient, submit: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 10_000)
    job = submit()
    claim = worker.claim(job)
    for number in range(20):
        worker.record(claim, events=[{"type": "noted", "data": {"number": number, "message": "x" * 3_000}}])
    worker.release(claim, State.FAILED)

    seen: list[dict[str, Any]] = []
    after, asked = "0", 0
    while after is not None:
        page = client.get(job["urls"]["events"], params={"after": after, "limit": 1_000}).json()
        assert len(json.dumps(page)) < 15_000
        seen, after, asked = seen + page["data"], page["next_cursor"], asked + 1
    heard = [json.loads(event["data"]) for event in said(client.get(job["urls"]["events"], headers=STREAM).text)]

    assert asked > 5
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert heard == seen
