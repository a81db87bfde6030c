"""Looking at a job without asking again and again: ETags, and `Prefer: wait`, a long poll."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.live import long_poll, stream
from jobs.queue import requests
from jobs.states import State
from tests.support.waiting import wait_until

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


@pytest.fixture
def nobody_waits(app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for news fails."""

    async def news(*asked: Any) -> bool:
        raise AssertionError("somebody waits for news")

    monkeypatch.setattr(app.state.lookout, "news", news)


@pytest.mark.usefixtures("nobody_waits")
def test_what_the_client_does_not_have_is_answered_at_once(client: TestClient, submit: Any) -> None:
    job = submit()

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50", "If-None-Match": '"old"'})

    assert answer.status_code == 200


def test_when_the_time_is_over_the_answer_comes_anyway(client: TestClient, submit: Any) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]

    same = client.get(job["urls"]["self"], headers={"Prefer": "wait=1", "If-None-Match": seen})
    whole = client.get(job["urls"]["self"], headers={"Prefer": "wait=1"})

    assert (same.status_code, whole.status_code) == (304, 200)


@pytest.mark.usefixtures("nobody_waits")
def test_a_job_that_has_ended_is_not_waited_for(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    worker.release(worker.claim(job), State.FAILED)

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50"})

    assert answer.json()["is_terminal"]


def test_when_the_time_is_over_the_answer_is_as_the_job_is_by_then(
    client: TestClient, app: FastAPI, submit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(long_poll, "time", SimpleNamespace(monotonic=lambda: now[0]))
    first, second = submit(), submit()
    seen = client.get(second["urls"]["self"]).headers["etag"]
    headers = {"Prefer": "wait=50", "If-None-Match": seen}
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.get(second["urls"]["self"], headers=headers)))
    thread.start()
    wait_until(lambda: app.state.lookout.long_polls.taken == 1)

    client.post(first["urls"]["cancel"])  # no news of the second, which moves up
    now[0] = 50.0
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
    # One that goes back for each space would compute for days.
    answer = client.get(submit()["urls"]["self"], headers={"Prefer": "wait=" + " " * 100_000 + 'a"b'})

    assert "preference-applied" not in answer.headers


def test_a_wait_is_cut_to_what_the_server_allows(client: TestClient, submit: Any, later: Any) -> None:
    job = submit()
    later(lambda session: requests.pause(session, job["id"]))

    assert client.get(job["urls"]["self"], headers={"Prefer": "wait=86400"}).headers["preference-applied"] == "wait=60"


def test_beyond_the_number_of_those_who_may_wait_the_answer_comes_at_once(
    client: TestClient, app: FastAPI, submit: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    app.state.lookout.long_polls.most = 0
    app.state.lookout.streams.most = 0
    job = submit()

    answer = client.get(job["urls"]["self"], headers={"Prefer": "wait=50"})
    refused, *_ = [client.get(job["urls"]["events"], headers={"Accept": stream.MEDIA_TYPE}) for _ in range(5)]

    assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    assert capfd.readouterr().err.count('"too_many_streams"') == 1, "a line for each is noise"
