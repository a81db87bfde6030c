"""A retry: a new job like one that has ended, or other than it where the user says so."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.envelope import Envelope
from jobs.queue import submit as submitting
from jobs.queue.submit import add_job
from jobs.states import State
from kd import spec


def test_a_retry_is_a_new_job_like_the_old_one(client: TestClient, ended: Any) -> None:
    envelope = {"name": "n", "labels": {"a": "b"}, "priority": 3, "limits": {"max_run_seconds": 60.0}, "keep_last": 2}
    job = ended(config={"epochs": 3}, **envelope)

    answer = client.post(job["urls"]["retry"])

    new = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == new["urls"]["self"]
    assert (new["status"], new["parent_job_id"]) == ("queued", job["id"])
    same = ("spec", "resolved_spec", "name", "labels", "priority", "limits", "keep_last")
    assert {field: new[field] for field in same} == {field: job[field] for field in same}


def test_a_retry_can_be_other_than_before(client: TestClient, ended: Any) -> None:
    job = ended(config={"epochs": 3, "batch_size": 32}, name="n")
    body = {"patch": {"config": {"epochs": 5, "batch_size": None}}, "name": "m", "priority": 7}

    new = client.post(job["urls"]["retry"], json=body).json()

    assert new["spec"] == {"mode": "train", "config": {"epochs": 5}}
    assert (new["name"], new["priority"]) == ("m", 7)


def test_a_retry_can_take_the_suggested_patch(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit(config={"batch_size": 64})
    error = {"code": "out_of_memory", "message": "m", "hint": "h", "retryable": False}
    error["suggested_patch"] = {"config": {"batch_size": 32}}
    worker.release(worker.claim(job), State.FAILED, error=error)

    new = client.post(job["urls"]["retry"], json={"use_suggested_patch": True}).json()

    assert new["resolved_spec"]["config"]["batch_size"] == 32


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"patch": {"config": {"epochs": 0}}}, "/config/epochs", "greater than or equal to 1"),
        ({"patch": {"config": {"epoch": 3}}}, "/config/epoch", "the nearest are epochs"),
        ({"patch": {"name": "x"}}, "/patch/name", "mode and config"),
        ({"patch": 3}, "/patch", "object"),
        ({"use_suggested_patch": True}, "/use_suggested_patch", "suggests no patch"),
        ({"patches": {}}, "/patches", "the nearest are patch"),
        ({"priority": 1000}, "/priority", "100"),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused_with_the_place(
    client: TestClient, ended: Any, problem_in: Any, body: Any, pointer: str, says: str
) -> None:
    job = ended()

    (fault,) = problem_in(client.post(job["urls"]["retry"], json=body), 422, "invalid")["errors"]

    assert fault["pointer"] == pointer
    assert says in fault["message"]
    assert len(client.get("/jobs").json()["data"]) == 1


def test_a_key_that_comes_twice_among_very_many_is_refused(client: TestClient, ended: Any, problem_in: Any) -> None:
    keys = ",".join(f'"{number}":0' for number in range(50_000))

    answer = client.post(
        ended()["urls"]["retry"], content=f'{{{keys},"49999":0}}', headers={"Content-Type": "application/json"}
    )

    assert '"49999" occurs twice' in problem_in(answer, 400, "not_json")["detail"]


def test_a_slow_disk_holds_up_a_retry_and_nobody_else(
    client: TestClient, app: FastAPI, ended: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, real = ended(), submitting.check_data

    def slow(*given: Any) -> None:
        with app.state.database.begin() as session:
            add_job(session, spec.parse({"mode": "train", "config": {}}), envelope=Envelope(name="another's"))
        real(*given)

    monkeypatch.setattr(submitting, "check_data", slow)

    assert client.post(job["urls"]["retry"]).status_code == 201
    assert [job["name"] for job in client.get("/jobs?q=another").json()["data"]] == ["another's"]


def test_a_job_that_has_not_ended_cannot_be_retried(client: TestClient, submit: Any, problem_in: Any) -> None:
    problem = problem_in(client.post(submit()["urls"]["retry"]), 409, "not_allowed")

    assert problem["allowed"] == ["cancel", "pause"]
