"""A request that is sent again because its answer was lost makes no second job."""

import shutil
import threading
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.queue import delete, requests, submit
from jobs.states import State
from kd import spec

KEY = {"Idempotency-Key": "9b2d-7c"}
SPEC = spec.parse({"mode": "train", "config": {}})
BODY = {"mode": "train", "config": {"epochs": 3}, "name": "once"}


def count(client: TestClient) -> int:
    return len(client.get("/jobs").json()["data"])


def test_the_same_request_again_has_the_same_job(client: TestClient) -> None:
    first = client.post("/jobs", json=BODY, headers=KEY)
    again = client.post("/jobs", json=dict(reversed(BODY.items())), headers=KEY)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert count(client) == 1


def test_a_key_that_came_with_another_request_is_refused(client: TestClient, problem_in: Any) -> None:
    job = client.post("/jobs", json=BODY, headers=KEY).json()

    problem = problem_in(
        client.post("/jobs", json={**BODY, "name": "twice"}, headers=KEY), 422, "idempotency_key_reused"
    )

    assert job["id"] in problem["detail"]
    assert count(client) == 1


def test_without_a_key_or_with_another_one_there_are_two_jobs(client: TestClient) -> None:
    for headers in ({}, {}, KEY, {"Idempotency-Key": "other"}):
        assert client.post("/jobs", json=BODY, headers=headers).status_code == 201

    assert count(client) == 4


def test_of_many_at_the_same_moment_one_makes_the_job(client: TestClient) -> None:
    together, answers = threading.Barrier(4), []

    def submit() -> None:
        together.wait()
        answers.append(client.post("/jobs", json=BODY, headers=KEY))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(client) == 1


def test_a_job_that_is_deleted_as_soon_as_its_key_was_used_again_is_made_anew(
    client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks, others = submit.find_replay, iter(("first", "second")), []

    def find_replay(*asked: Any) -> Any:
        look = next(looks, None)
        if look == "first":  # and then another one makes the job
            with app.state.database.begin() as session:
                others.append(submit.add_job(session, SPEC, idempotency=asked[1]).id)
            return None
        if look == "second":  # when it is gone already
            with app.state.database.begin() as session:
                requests.cancel(session, others[0])
                delete.delete_job(session, others[0])
        return real(*asked)

    monkeypatch.setattr(submit, "find_replay", find_replay)

    answer = client.post("/jobs", json=BODY, headers=KEY)

    assert answer.status_code == 201
    assert answer.json()["id"] != others[0]


def test_a_replay_needs_no_room(client: TestClient, app: FastAPI, problem_in: Any) -> None:
    first = client.post("/jobs", json=BODY, headers=KEY).json()
    app.state.settings = app.state.settings.model_copy(update={"min_free_bytes": 2**60})

    again = client.post("/jobs", json=BODY, headers=KEY)
    problem_in(client.post("/jobs", json=BODY), 507, "no_room")

    assert (again.status_code, again.json()["id"]) == (200, first["id"])


def test_a_replay_needs_no_data_set(lone_client: TestClient, lone_app: FastAPI, packed: Any, problem_in: Any) -> None:
    packed("pets", 32)
    body = {"mode": "train", "config": {"dataset": "packed/pets"}}
    first = lone_client.post("/jobs", json=body, headers=KEY).json()
    shutil.rmtree(lone_app.state.settings.data_dir / "datasets" / "packed")

    again = lone_client.post("/jobs", json=body, headers=KEY)
    problem_in(lone_client.post("/jobs", json=body), 422, "invalid")

    assert (again.status_code, again.json()["id"]) == (200, first["id"])


def test_a_retry_is_counted_once_as_well(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    worker.release(worker.claim(job), State.FAILED)

    first = client.post(job["urls"]["retry"], headers=KEY)
    again = client.post(job["urls"]["retry"], headers=KEY)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"] != job["id"]


def test_a_key_of_a_submission_is_none_of_a_retry(client: TestClient, worker: Any, problem_in: Any) -> None:
    job = client.post("/jobs", json=BODY, headers=KEY).json()
    worker.release(worker.claim(job), State.FAILED)

    problem_in(client.post(job["urls"]["retry"], headers=KEY), 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "two words", "ü", "x" * 256])
def test_what_is_no_key_is_refused(client: TestClient, problem_in: Any, key: str) -> None:
    answer = client.post("/jobs", json=BODY, headers=[(b"idempotency-key", key.encode())])

    (fault,) = problem_in(answer, 422, "invalid")["errors"]
    assert (fault["in"], fault["pointer"]) == ("header", "/Idempotency-Key")
    assert count(client) == 0
