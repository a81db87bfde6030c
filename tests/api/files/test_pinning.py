"""PATCH /jobs/{id}/checkpoints/{checkpoint}: keep a checkpoint, or let it go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.settings import Settings
from jobs.states import State

Submit = Callable[..., dict[str, Any]]


def students(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.data_dir).rglob("student-*"))


def test_a_pinned_checkpoint_stays_until_it_is_let_go(
    client: TestClient, submit: Submit, worker: Any, settings: Settings, problem_in: Any
) -> None:
    job = submit()
    url = job["urls"]["checkpoints"]
    claim = worker.claim(job)
    worker.publish(claim, b"best", step=1)
    worker.publish(claim, b"pinned", step=2, best=False)

    pinned = client.patch(f"{url}/last", json={"pinned": True})

    assert pinned.status_code == 200
    assert (pinned.json()["pinned"], pinned.json()["step"]) == (True, 2)
    here = pinned.json()["urls"]["self"]
    worker.publish(claim, b"last", step=3, best=False)
    assert {shown["step"]: shown["pinned"] for shown in client.get(url).json()["data"]} == {3: False, 2: True, 1: False}
    assert client.get(here).json() == pinned.json()
    assert client.get(pinned.json()["urls"]["download"]).content == b"pinned"

    let_go = client.patch(here, json={"pinned": False})

    assert let_go.status_code == 200
    assert let_go.json() == pinned.json() | {"pinned": False}
    assert [shown["step"] for shown in client.get(url).json()["data"]] == [3, 1]
    assert students(settings) == ["student-1.safetensors", "student-3.safetensors"]
    problem_in(client.get(here), 404, "checkpoint_not_found")
    problem_in(client.patch(here, json={"pinned": True}), 404, "checkpoint_not_found")


def test_checkpoints_of_a_job_that_has_ended_can_be_pinned(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit()
    claim = worker.claim(job)
    best = worker.publish(claim, b"best", step=1)
    worker.release(claim, State.SUCCEEDED)

    answer = client.patch(f"{job['urls']['checkpoints']}/{best}", json={"pinned": True})

    assert (answer.status_code, answer.json()["pinned"], answer.json()["best"]) == (200, True, True)


def test_letting_the_best_go_does_not_lose_it(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit()
    worker.publish(worker.claim(job), b"best", step=1)
    url = f"{job['urls']['checkpoints']}/best"

    for pinned in (True, False, False):
        assert client.patch(url, json={"pinned": pinned}).json()["pinned"] is pinned

    assert client.get(f"{url}/download").content == b"best"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/pinned"),
        ({"pinned": None}, "/pinned"),
        ({"pinned": "true"}, "/pinned"),
        ({"pinned": 1}, "/pinned"),
        ({"pinned": True, "best": True}, "/best"),
        ([], ""),
        (True, ""),
    ],
)
def test_a_change_that_is_none_is_refused(lone_client: TestClient, problem_in: Any, body: Any, pointer: str) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()

    problem = problem_in(lone_client.patch(f"{job['urls']['checkpoints']}/best", json=body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_what_is_not_there_cannot_be_pinned(lone_client: TestClient, problem_in: Any) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()
    url = job["urls"]["checkpoints"]

    for name in ("best", "last", "ckpt_01J00000000000000000000000", "worst"):
        problem_in(lone_client.patch(f"{url}/{name}", json={"pinned": True}), 404, "checkpoint_not_found")
    elsewhere = "/jobs/job_01J00000000000000000000000/checkpoints/best"
    problem_in(lone_client.patch(elsewhere, json={"pinned": True}), 404, "job_not_found")


def test_the_document_says_what_a_change_looks_like(lone_client: TestClient) -> None:
    operation = lone_client.get("/openapi.json").json()["paths"]["/jobs/{job_id}/checkpoints/{checkpoint}"]["patch"]

    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert (schema["required"], schema["additionalProperties"]) == (["pinned"], False)
    assert {"200", "400", "404", "415", "422"} <= operation["responses"].keys()
