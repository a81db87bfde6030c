"""What users do to jobs that are there: pause, retry, rename, delete, one or many; and only if they saw them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy import insert, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from jobs import ids
from jobs.envelope import Change, Envelope
from jobs.queue import delete, requests
from jobs.queue import submit as submitting
from jobs.queue.submit import add_job
from jobs.states import State
from jobs.tables import Job
from jobs.teachers import lending
from kd import spec


@pytest.fixture
def ended(submit: Any, worker: Any) -> Any:
    """A job that has failed."""

    def ended(state: State = State.FAILED, **envelope: Any) -> dict[str, Any]:
        job = submit(**envelope)
        worker.release(worker.claim(job), state)
        return dict(job)

    return ended


# -- pause and resume --------------------------------------------------------------------------------------------


def test_a_job_is_paused_and_resumed(client: TestClient, submit: Any) -> None:
    job = submit()

    paused, again = client.post(job["urls"]["pause"]), client.post(job["urls"]["pause"])
    resumed, once_more = client.post(job["urls"]["resume"]), client.post(job["urls"]["resume"])

    assert [answer.status_code for answer in (paused, again, resumed, once_more)] == [202, 200, 202, 200]
    assert (paused.json()["status"], paused.json()["is_terminal"]) == ("paused", False)
    assert paused.json()["pause_requested_at"]
    assert (resumed.json()["status"], resumed.json()["pause_requested_at"]) == ("queued", None)


def test_a_running_job_is_asked_to_pause(client: TestClient, submit: Any, worker: Any) -> None:
    job = submit()
    worker.claim(job)

    answer = client.post(job["urls"]["pause"])

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert answer.json()["pause_requested_at"]


@pytest.mark.parametrize("what", ["pause", "resume", "cancel"])
def test_what_a_job_does_not_allow_is_refused_with_what_it_does(
    client: TestClient, ended: Any, problem_in: Any, what: str
) -> None:
    job = ended()

    problem = problem_in(client.post(job["urls"][what]), 409, "not_allowed")

    assert problem["allowed"] == ["retry", "delete"]


# -- retry -------------------------------------------------------------------------------------------------------


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


def test_a_body_of_very_many_keys_is_read_fast(client: TestClient, ended: Any, problem_in: Any) -> None:
    keys = ",".join(f'"{number}":0' for number in range(50_000))
    began = time.process_time()

    answer = client.post(
        ended()["urls"]["retry"], content=f'{{{keys},"49999":0}}', headers={"Content-Type": "application/json"}
    )

    assert '"49999" occurs twice' in problem_in(answer, 400, "not_json")["detail"]
    assert time.process_time() - began < 10  # one that counts each key computes for half a minute


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


# -- PATCH and DELETE --------------------------------------------------------------------------------------------


def test_a_job_gets_another_name_other_labels_and_another_priority(client: TestClient, submit: Any) -> None:
    job = submit(name="old", labels={"a": "b"})

    changed = client.patch(job["urls"]["self"], json={"name": "new", "priority": 5}).json()
    nameless = client.patch(job["urls"]["self"], json={"name": None, "labels": {}}).json()

    assert (changed["name"], changed["labels"], changed["priority"]) == ("new", {"a": "b"}, 5)
    assert (nameless["name"], nameless["labels"], nameless["priority"]) == (None, {}, 5)
    kinds = [event["type"] for event in client.get(job["urls"]["events"]).json()["data"]]
    assert kinds == ["state", "changed", "changed"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"status": "succeeded"}, "/status"),
        ({"priority": 101}, "/priority"),
        ({"labels": None}, "/labels"),
        ({"labels": {"bad key": "x"}}, "/labels/bad key"),
        ({"name": "a\nb"}, "/name"),
        ([], ""),
    ],
)
def test_what_cannot_be_changed_is_refused(
    client: TestClient, submit: Any, problem_in: Any, body: Any, pointer: str
) -> None:
    job = submit(name="old")

    faults = problem_in(client.patch(job["urls"]["self"], json=body), 422, "invalid")["errors"]

    assert [fault["pointer"] for fault in faults] == [pointer]
    assert client.get(job["urls"]["self"]).json()["name"] == "old"


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
        lending.check(session, borrower)
        add_job(session, borrower)

    assert answers[0].status_code == (409 if one else 200)
    assert client.get(lender["urls"]["self"]).status_code == 200


# -- many --------------------------------------------------------------------------------------------------------


def test_all_jobs_that_match_are_cancelled(client: TestClient, submit: Any, worker: Any) -> None:
    waits, other, runs = submit(labels={"a": "1"}), submit(labels={"a": "2"}), submit(labels={"a": "1"})
    worker.claim(runs)

    bulk = client.post("/jobs/cancel?label=a=1").json()
    again = client.post("/jobs/cancel?label=a=1").json()

    assert (bulk["object"], bulk["changed"], set(bulk["ids"])) == ("bulk", 2, {waits["id"], runs["id"]})
    assert again["changed"] == 0
    states = {job["id"]: job["status"] for job in client.get("/jobs").json()["data"]}
    assert states == {waits["id"]: "cancelled", other["id"]: "queued", runs["id"]: "running"}
    assert client.get(runs["urls"]["self"]).json()["cancel_requested_at"]


def test_all_jobs_that_match_and_have_ended_are_deleted(
    client: TestClient, app: FastAPI, submit: Any, ended: Any
) -> None:
    failed, waits = ended(name="x1"), submit(name="x2")

    bulk = client.delete("/jobs?q=x").json()

    assert (bulk["changed"], bulk["ids"]) == (1, [failed["id"]])
    assert [job["id"] for job in client.get("/jobs").json()["data"]] == [waits["id"]]


def test_deleting_many_spares_those_that_lend_their_teacher(
    client: TestClient, app: FastAPI, submit: Any, worker: Any
) -> None:
    lender, other = submit(), submit()
    for job in (lender, other):
        claim = worker.claim(job)
        worker.publish_artifact(claim, "teacher.safetensors", b"teacher")
        worker.release(claim, State.SUCCEEDED, result={"metrics": {}})
    submit(config={"teacher": {"job": lender["id"]}})

    bulk = client.delete("/jobs?status=succeeded").json()

    assert bulk["ids"] == [other["id"]]
    folders = {path.name for path in (app.state.settings.data_dir / "jobs").iterdir()}
    assert folders == {lender["id"]}


@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs/cancel"), ("DELETE", "/jobs")])
def test_every_job_must_be_meant(
    client: TestClient, ended: Any, submit: Any, problem_in: Any, method: str, path: str
) -> None:
    ended()
    submit()

    problem = problem_in(client.request(method, path), 422, "invalid")
    problem_in(client.request(method, f"{path}?limit=3"), 422, "invalid")

    assert "all=true" in problem["detail"]
    assert client.request(method, f"{path}?all=true").json()["changed"] == 1


def test_ten_thousand_jobs_are_cancelled_in_one_transaction(client: TestClient, app: FastAPI, submit: Any) -> None:
    submit()
    with app.state.database.begin() as session:
        copy_jobs(session, 10_000)

    bulk = client.post("/jobs/cancel?status=queued").json()

    assert (bulk["changed"], len(bulk["ids"])) == (10_001, 1_000)
    assert client.get("/jobs?status=queued").json()["data"] == []
    last = client.get(f"/jobs/{bulk['ids'][-1]}/events").json()["data"][-1]
    assert (last["type"], last["data"]) == ("state", {"state": "cancelled"})


def copy_jobs(session: Any, count: int) -> None:
    row = dict(session.execute(select(Job.__table__)).mappings().one())
    session.execute(insert(Job), [{**row, "id": ids.new("job")} for _ in range(count)])


# -- only if it is as it was seen --------------------------------------------------------------------------------

WRITES = [
    ("POST", "cancel", None),
    ("POST", "pause", None),
    ("POST", "resume", None),
    ("PATCH", "self", {"priority": 1}),
    ("DELETE", "self", None),
    ("POST", "retry", {}),
]


@pytest.mark.parametrize(("method", "url", "body"), WRITES)
def test_a_change_of_what_has_changed_meanwhile_is_refused(
    client: TestClient, app: FastAPI, submit: Any, problem_in: Any, method: str, url: str, body: Any
) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]
    with app.state.database.begin() as session:
        requests.change(session, job["id"], Change(name="another's"))
    before = client.get(job["urls"]["self"])

    answer = client.request(method, job["urls"][url], json=body, headers={"If-Match": seen})

    problem_in(answer, 412, "precondition_failed")
    assert answer.headers["etag"] == before.headers["etag"] != seen
    assert client.get(job["urls"]["self"]).json() == before.json()


@pytest.mark.parametrize("condition", ["{}", '"x", {}', "*"])
def test_a_change_of_what_is_as_it_was_seen_is_made(client: TestClient, submit: Any, condition: str) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]

    answer = client.patch(
        job["urls"]["self"], json={"name": "mine"}, headers={"If-Match": condition.replace("{}", seen)}
    )

    assert answer.json()["name"] == "mine"
    assert answer.headers["etag"] != seen


def test_a_weak_etag_is_not_enough_for_a_change(client: TestClient, submit: Any, problem_in: Any) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]

    problem_in(client.post(job["urls"]["pause"], headers={"If-Match": f"W/{seen}"}), 412, "precondition_failed")
