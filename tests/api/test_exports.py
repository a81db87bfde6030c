"""POST /jobs/{id}/exports: a job of light work makes a file of a student that runs elsewhere."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.states import State


@pytest.fixture
def finished(submit: Any, worker: Any) -> dict[str, Any]:
    """A job that has a student."""
    job = submit(config={"dataset": "digits", "validation_fraction": 0.2, "student": {"arch": "cnn_small"}})
    claim = worker.claim(job)
    checkpoint = worker.publish(claim, b"student", step=1)
    result = {"metrics": {}, "seconds": {}, "best_checkpoint": checkpoint, "verdict": None}
    worker.release(claim, State.SUCCEEDED, result=result)
    return dict(job)


def test_an_export_is_a_job_beside_the_distillations_that_is_held_against_its_own_images(
    client: TestClient, finished: dict[str, Any]
) -> None:
    here = finished["urls"]["exports"]

    made, again = client.post(here, json={}), client.post(here, json={"format": "onnx", "preprocessing": True})
    bare = client.post(here, json={"preprocessing": False})

    job = made.json()
    assert (made.status_code, again.status_code, bare.status_code) == (202, 200, 202)
    assert made.headers["location"] == job["urls"]["self"] == again.json()["urls"]["self"]
    assert (job["mode"], job["status"]) == ("export", "queued")
    assert job["resolved_spec"]["config"] == {
        "format": "onnx",
        "preprocessing": True,
        "loses_at_most": 0.005,
        "images": 2_000,
        "model": {"job": finished["id"], "role": "student"},
        "dataset": "digits",
        "validation_fraction": 0.2,
        "input_size": None,
    }
    assert [one["id"] for one in client.get(here).json()["data"]] == [bare.json()["id"], job["id"]]
    assert [one["id"] for one in client.get("/jobs").json()["data"]] == [finished["id"]]
    assert len(client.get("/jobs", params={"mode": "export"}).json()["data"]) == 2


def test_the_job_stays_until_its_student_has_left(
    client: TestClient, finished: dict[str, Any], problem_in: Any
) -> None:
    job = client.post(finished["urls"]["exports"], json={}).json()

    problem_in(client.delete(finished["urls"]["self"]), 409)
    client.post(job["urls"]["cancel"])
    anew = client.post(finished["urls"]["exports"], json={})

    assert anew.status_code == 202, "one that was cancelled has made nothing"
    client.post(anew.json()["urls"]["cancel"])
    retried = problem_in(client.post(job["urls"]["retry"], json={}), 422, "invalid")
    assert f"POST /jobs/{finished['id']}/exports once more" in retried["detail"]
    assert client.delete(finished["urls"]["self"]).status_code == 204
    problem_in(client.post(finished["urls"]["exports"], json={}), 404, "job_not_found")
    problem_in(client.get(finished["urls"]["exports"]), 404, "job_not_found")


def test_what_is_made_needs_neither_room_nor_data(
    client: TestClient, finished: dict[str, Any], problem_in: Any, monkeypatch: Any
) -> None:
    made = client.post(finished["urls"]["exports"], json={}).json()
    monkeypatch.setattr("jobs.files.quota.trouble", lambda settings: "The disk is full.")

    assert client.post(finished["urls"]["exports"], json={}).json()["id"] == made["id"]
    problem_in(client.post(finished["urls"]["exports"], json={"images": 10}), 507, "no_room")
    pages = [client.get(finished["urls"]["exports"], params={"limit": 1}).json()]
    assert (len(pages[0]["data"]), pages[0]["has_more"]) == (1, False)


def test_an_export_and_the_end_of_its_job_do_not_wait_for_one_another(
    client: TestClient, finished: dict[str, Any]
) -> None:
    """One of the two comes first, and the other one is told so: neither is a deadlock's victim."""
    with ThreadPoolExecutor(2) as pool:
        for images in range(10, 20):
            export = pool.submit(client.post, finished["urls"]["exports"], json={"images": images})
            delete = pool.submit(client.delete, finished["urls"]["self"])
            assert export.result().status_code in (202, 404)
            assert delete.result().status_code in (204, 404, 409)


def test_who_has_no_student_to_give_says_so(
    client: TestClient, submit: Any, finished: dict[str, Any], worker: Any, problem_in: Any
) -> None:
    waiting, failed = submit(), submit()
    worker.release(worker.claim(failed), State.CANCELLED)
    export = client.post(finished["urls"]["exports"], json={}).json()

    for job, why in (
        (waiting, "is queued and has no finished student yet"),
        (failed, "was cancelled without a student to take over"),
        (export, "trains nobody: its mode is export"),
    ):
        problem = problem_in(client.post(job["urls"]["exports"], json={}), 422, "invalid")
        assert problem["errors"][0]["message"] == f"Job {job['id']} {why}"


@pytest.mark.parametrize(
    ("body", "pointer", "why"),
    [
        ({"format": "onxx"}, "/format", "should be 'onnx'"),
        ({"loses_at_most": 2}, "/loses_at_most", "less than or equal to 1"),
        ({"images": 0}, "/images", "greater than or equal to 1"),
        ({"as": "onnx"}, "/as", "there is no such field"),
        ({"dataset": "mnist5k"}, "/dataset", "there is no such field"),
    ],
)
def test_what_is_asked_for_wrong_is_refused_with_its_place(
    client: TestClient, finished: dict[str, Any], problem_in: Any, body: dict[str, Any], pointer: str, why: str
) -> None:
    problem = problem_in(client.post(finished["urls"]["exports"], json=body), 422, "invalid")

    assert (problem["errors"][0]["pointer"], why in problem["errors"][0]["message"]) == (pointer, True)
