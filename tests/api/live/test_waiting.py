"""Looking at a job without asking again and again: ETags, `Prefer: wait`, streams of events."""

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import build_app
from api.live import stream
from jobs.queue import leases, recording, requests
from jobs.settings import Settings
from jobs.states import State
from tests.support.served import Server, own_server
from tests.support.waiting import HANG_SECONDS, wait_until

__all__ = ["own_server"]


@pytest.fixture
def later(app: FastAPI) -> Iterator[Callable[..., None]]:
    """Do something to the database, one after the other, once somebody waits for news."""
    threads: list[threading.Thread] = []

    def later(*acts: Callable[[Any], object], pause_seconds: float = 0.0) -> None:
        def wait_and_do() -> None:
            lookout = app.state.lookout
            wait_until(lambda: lookout.long_polls.taken + lookout.streams.taken)
            time.sleep(pause_seconds)
            for act in acts:
                with app.state.database.begin() as session:
                    act(session)

        threads.append(threading.Thread(target=wait_and_do))
        threads[-1].start()

    yield later
    for thread in threads:
        thread.join()


# -- ETags -------------------------------------------------------------------------------------------------------


def test_who_has_a_job_as_it_is_gets_nothing(client: TestClient, submit: Any) -> None:
    job = submit()
    first = client.get(job["urls"]["self"])

    for condition in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = client.get(job["urls"]["self"], headers={"If-None-Match": condition})

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]


def test_the_etag_changes_exactly_when_the_answer_does(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    seen = [client.get(job["urls"]["self"]) for _ in range(2)]
    claim = worker.claim(job)
    seen.append(client.get(job["urls"]["self"]))
    worker.record(claim, progress={"fraction": 0.5})
    seen.append(client.get(job["urls"]["self"]))

    tags, bodies = [answer.headers["etag"] for answer in seen], [answer.content for answer in seen]

    assert len(set(tags)) == len(set(bodies)) == 3
    assert tags[0] == tags[1]


# -- Prefer: wait ------------------------------------------------------------------------------------------------


def test_the_answer_waits_for_a_change(client: TestClient, submit: Any, later: Any) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]
    later(lambda session: requests.pause(session, job["id"]))

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=30", "If-None-Match": seen})

    assert (answer.status_code, answer.json()["status"]) == (200, "paused")
    assert answer.headers["preference-applied"] == "wait=30"


def test_without_an_etag_it_waits_for_the_next_change(client: TestClient, submit: Any, later: Any) -> None:
    job = submit()
    later(lambda session: requests.pause(session, job["id"]))

    assert client.get(job["urls"]["self"], headers={"Prefer": "respond-async, wait=30"}).json()["status"] == "paused"


def test_what_the_client_does_not_have_is_answered_at_once(client: TestClient, submit: Any) -> None:
    job = submit()
    asked = time.monotonic()

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50", "If-None-Match": '"old"'})

    assert answer.status_code == 200
    assert time.monotonic() - asked < 50


def test_when_the_time_is_over_the_answer_comes_anyway(client: TestClient, submit: Any) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]

    same = client.get(job["urls"]["self"], headers={"Prefer": "wait=1", "If-None-Match": seen})
    whole = client.get(job["urls"]["self"], headers={"Prefer": "wait=1"})

    assert (same.status_code, whole.status_code) == (304, 200)


def test_a_job_that_has_ended_is_not_waited_for(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    worker.release(worker.claim(job), State.FAILED)
    asked = time.monotonic()

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50"})

    assert answer.json()["is_terminal"]
    assert time.monotonic() - asked < 50


def test_when_the_time_is_over_the_answer_is_as_the_job_is_by_then(
    client: TestClient, app: FastAPI, submit: Any
) -> None:
    first, second = submit(), submit()
    seen = client.get(second["urls"]["self"]).headers["etag"]
    headers = {"Prefer": "wait=2", "If-None-Match": seen}
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.get(second["urls"]["self"], headers=headers)))
    thread.start()
    wait_until(lambda: app.state.lookout.long_polls.taken == 1)

    client.post(first["urls"]["cancel"])  # no news of the second, which moves up
    thread.join()

    assert answers[0].status_code == 200
    assert answers[0].json()["waiting"]["position"] == 1


@pytest.mark.parametrize("prefer", ["wait", "wait=soon", "wait=-1", "return=minimal", ""])
def test_a_preference_that_is_not_understood_is_ignored(client: TestClient, submit: Any, prefer: str) -> None:
    answer = client.get(submit()["urls"]["self"], headers={"Prefer": prefer})

    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("prefer", ['wait="1"', " WAIT = 1 ; x=2", "return=minimal, wait=1", 'wait = " 1 "'])
def test_a_preference_may_be_written_in_many_ways(client: TestClient, submit: Any, prefer: str) -> None:
    answer = client.get(submit()["urls"]["self"], headers={"Prefer": prefer})

    assert answer.headers["preference-applied"] == "wait=1"


def test_a_long_preference_is_read_as_fast_as_a_short_one(client: TestClient, submit: Any) -> None:
    began = time.process_time()

    answer = client.get(submit()["urls"]["self"], headers={"Prefer": "wait=" + " " * 5_000 + 'a"b'})

    assert "preference-applied" not in answer.headers
    assert time.process_time() - began < 10  # one that goes back for each space computes for minutes


def test_a_wait_is_cut_to_what_the_server_allows(client: TestClient, submit: Any, later: Any) -> None:
    job = submit()
    later(lambda session: requests.pause(session, job["id"]))

    assert client.get(job["urls"]["self"], headers={"Prefer": "wait=86400"}).headers["preference-applied"] == "wait=60"


def test_beyond_the_number_of_those_who_may_wait_the_answer_comes_at_once(
    client: TestClient, app: FastAPI, submit: Any
) -> None:
    app.state.lookout.long_polls.most = 0
    app.state.lookout.streams.most = 0
    job = submit()

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50"})
    refused = client.get(job["urls"]["events"], headers={"Accept": stream.MEDIA_TYPE})

    assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")


# -- the stream --------------------------------------------------------------------------------------------------

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
    assert stream.is_preferred(accept) is streams


def test_caches_are_told_that_pages_and_streams_are_two_answers(client: TestClient, submit: Any) -> None:
    assert client.get(f"/jobs/{submit()['id']}/events").headers["vary"] == "Accept"


def test_there_is_no_stream_of_a_job_that_is_not_there(client: TestClient, problem_in: Any) -> None:
    problem_in(client.get("/jobs/job_01J00000000000000000000000/events", headers=STREAM), 404, "job_not_found")


# -- who leaves --------------------------------------------------------------------------------------------------


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[FastAPI, tuple[str, int]]]:
    """A server that can be reached over TCP, and be looked into."""
    app = build_app(Settings(data_dir=tmp_path / "data"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield app, listener.getsockname()
        server.should_exit = True
        thread.join()


def test_who_goes_away_makes_room_for_others(listening: Any) -> None:
    app, address = listening
    job = httpx2.post(
        f"http://127.0.0.1:{address[1]}/jobs", json={"mode": "train", "config": {}}, timeout=HANG_SECONDS
    ).json()
    lookout = app.state.lookout
    asks = [("self", "Prefer: wait=60"), ("events", "Accept: text/event-stream")]
    clients = [socket.create_connection(address) for _ in asks]
    for one, (url, header) in zip(clients, asks, strict=True):
        one.sendall(f"GET {job['urls'][url]} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    wait_until(lambda: (lookout.long_polls.taken, lookout.streams.taken) == (1, 1))

    for one in clients:
        one.close()

    wait_until(lambda: (lookout.long_polls.taken, lookout.streams.taken) == (0, 0))


def test_a_server_that_is_to_end_lets_those_who_wait_go(own_server: Server) -> None:
    job = httpx2.post(f"{own_server.url}/jobs", json={"mode": "train", "config": {}}).json()
    ended: list[str] = []

    def wait() -> None:
        with contextlib.suppress(httpx2.ConnectError):  # it came too late to be let in
            httpx2.get(own_server.url + job["urls"]["self"], headers={"Prefer": "wait=60"}, timeout=HANG_SECONDS)
        ended.append("long poll")

    def listen() -> None:
        with httpx2.stream(
            "GET", own_server.url + job["urls"]["events"], headers=STREAM, timeout=HANG_SECONDS
        ) as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    ready.set()
        ended.append("stream")

    ready = threading.Event()
    threads = [threading.Thread(target=wait), threading.Thread(target=listen)]
    for thread in threads:
        thread.start()
    assert ready.wait(HANG_SECONDS)
    time.sleep(0.3)  # the long poll's request has arrived; if not, it is refused, which ends it too

    asked = time.monotonic()
    code = own_server.end(signal.SIGTERM)
    for thread in threads:
        thread.join()

    assert code == 0
    assert sorted(ended) == ["long poll", "stream"]
    assert time.monotonic() - asked < 50, "it did not wait for them"
