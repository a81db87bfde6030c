"""A job is deleted with its files, unless it has not ended or lends its teacher; also while others want it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from jobs.queue import delete
from jobs.queue.submit import add_job
from jobs.states import State
from jobs.teachers import lending
from kd import spec


def test_a_deleted_job_is_gone_with_its_files(
    client: TestClient, app: FastAPI, submit: Any, worker: Any, problem_in: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    worker.publish(claim, b"weights", step=1)
    worker.release(claim, State.SUCCEEDED, result={"metrics": {}})
    folder = app.state.settings.data_dir / "jobs" / job["id"]
    assert folder.exists()

    answer = client.delete(job["urls"]["self"])

    assert (answer.status_code, answer.content) == (204, b"")
    assert not folder.exists()
    problem_in(client.get(job["urls"]["self"]), 404, "job_not_found")
    problem_in(client.delete(job["urls"]["self"]), 404, "job_not_found")


def test_what_has_not_ended_or_lends_its_teacher_is_not_deleted(
    client: TestClient, submit: Any, worker: Any, problem_in: Any
) -> None:
    lender = submit()
    problem_in(client.delete(lender["urls"]["self"]), 409, "not_allowed")
    claim = worker.claim(lender)
    worker.publish_artifact(claim, "teacher.safetensors", b"teacher")
    worker.release(claim, State.SUCCEEDED, result={"metrics": {}})
    borrower = submit(config={"teacher": {"job": lender["id"]}})

    problem = problem_in(client.delete(lender["urls"]["self"]), 409, "in_use")
    client.post(borrower["urls"]["cancel"])

    assert borrower["id"] in problem["detail"]
    assert client.delete(lender["urls"]["self"]).status_code == 204


@pytest.fixture
def meanwhile(client: TestClient, app: FastAPI) -> Any:
    """Ask the server something while this transaction is open; the answer, which may have to wait for its end."""

    @contextmanager
    def meanwhile(method: str, url: str) -> Iterator[tuple[Session, list[Response]]]:
        answers: list[Response] = []
        thread = threading.Thread(target=lambda: answers.append(client.request(method, url)))
        with app.state.database.begin() as session:
            yield session, answers
            thread.start()
            thread.join(0.5)
        thread.join()

    return meanwhile


def test_a_retry_of_a_job_that_is_being_deleted_finds_none(meanwhile: Any, ended: Any, problem_in: Any) -> None:
    job = ended()

    with meanwhile("POST", job["urls"]["retry"]) as (session, answers):
        delete.delete_job(session, job["id"])

    problem_in(answers[0], 404, "job_not_found")


def test_a_job_that_is_being_retried_can_be_deleted(client: TestClient, meanwhile: Any, ended: Any) -> None:
    job = ended()

    with meanwhile("DELETE", job["urls"]["self"]) as (session, answers):
        new = add_job(session, spec.parse(job["spec"]), parent=job["id"]).id

    assert answers[0].status_code == 204
    assert client.get(f"/jobs/{new}").json()["parent_job_id"] is None


@pytest.mark.parametrize("one", [True, False])
def test_a_teacher_that_is_being_borrowed_stays(
    client: TestClient, meanwhile: Any, submit: Any, worker: Any, one: bool
) -> None:
    lender = submit()
    claim = worker.claim(lender)
    worker.publish_artifact(claim, "teacher.safetensors", b"teacher")
    worker.release(claim, State.SUCCEEDED, result={"metrics": {}})
    borrower = spec.parse({"mode": "train", "config": {"teacher": {"job": lender["id"]}}})

    with meanwhile("DELETE", lender["urls"]["self"] if one else "/jobs?all=true") as (session, answers):
        lending.check(session, borrower, Path())
        add_job(session, borrower)

    assert answers[0].status_code == (409 if one else 200)
    assert client.get(lender["urls"]["self"]).status_code == 200
