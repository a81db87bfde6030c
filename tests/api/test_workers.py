"""Workers over HTTP: who is there, who works on what, and who shall take no more jobs."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.workers import roster
from jobs.workers.needs import Offer
from jobs.workers.roster import Self

NAME = "host:7:ab12"


@pytest.fixture
def there(app: FastAPI, client: TestClient) -> None:
    """One worker."""
    with app.state.database.begin() as session:
        roster.beat(session, Self(NAME, "host", 7, "1.0", Offer(1, 64 * 10**9, ("H100",))), trouble="The disk is low.")


@pytest.mark.usefixtures("there")
def test_a_worker_is_shown_with_what_it_has_and_does(client: TestClient) -> None:
    (worker,) = client.get("/workers").json()["data"]

    assert worker == client.get(worker["urls"]["self"]).json() | {
        "heartbeat_age_seconds": worker["heartbeat_age_seconds"]
    }
    assert (worker["name"], worker["status"], worker["job_id"]) == (NAME, "idle", None)
    assert (worker["gpus"], worker["gpu_names"], worker["memory_bytes"]) == (1, ["H100"], 64 * 10**9)
    assert worker["trouble"] == "The disk is low."
    assert 0 <= worker["heartbeat_age_seconds"] < 15


@pytest.mark.usefixtures("there")
def test_a_worker_is_drained_and_undrained(client: TestClient) -> None:
    answers = [client.post(f"/workers/{NAME}/{what}") for what in ("drain", "drain", "undrain", "undrain")]

    assert [answer.status_code for answer in answers] == [202, 200, 202, 200]
    assert [answer.json()["status"] for answer in answers] == ["drained", "drained", "idle", "idle"]
    assert answers[0].json()["drain_requested_at"]


@pytest.mark.parametrize("name", ["nobody", "x" * 300, "a%00b"])
@pytest.mark.parametrize(("method", "what"), [("GET", ""), ("POST", "/drain"), ("POST", "/undrain")])
def test_a_worker_that_is_not_there_is_not_found(
    client: TestClient, problem_in: Any, method: str, what: str, name: str
) -> None:
    problem_in(client.request(method, f"/workers/{name}{what}"), 404, "worker_not_found")


def test_a_job_that_waits_says_at_which_place_and_for_what(client: TestClient, submit: Any, app: FastAPI) -> None:
    first, second, large = submit(), submit(), submit(config={"resources": {"device": "cuda"}}, priority=-1)
    alone = client.get(second["urls"]["self"]).json()["waiting"]
    with app.state.database.begin() as session:
        roster.beat(session, Self(NAME, "host", 7, "1.0", Offer(0, 10**9)))

    waiting = {job["id"]: job["waiting"] for job in client.get("/jobs").json()["data"]}

    assert first["waiting"]["position"] == 1
    assert (alone["position"], alone["reason"]) == (2, "no_worker")
    assert (waiting[second["id"]]["position"], waiting[second["id"]]["reason"]) == (2, "starting")
    assert (waiting[large["id"]]["position"], waiting[large["id"]]["reason"]) == (3, "no_suitable_worker")
