"""Many jobs at once: all that match are cancelled, or deleted."""

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from jobs import ids
from jobs.states import State
from jobs.tables import Job


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


TYPOS = [
    "created_after=2026",
    "created_after=0",
    "created_after=1e9",
    "created_after=-1",
    "created_after=2026-01-01",
    "created_after=20260101T000000Z",
    "created_after=2026-01-01T00:00:00",
    "created_after=",
    "status=queud",
    "status=",
    "status=queued,",
    "mode=trian",
    "mode=",
    "label=",
    "label=%20team=vision",
    "label==vision",
    "q=",
    "q=%0A",
    "all=yes",
    "all=1",
    "all=True",
    "all=on",
    "all=",
    "all=false",
    "al=true",
    "statuses=queued",
]


@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs/cancel"), ("DELETE", "/jobs")])
def test_a_typo_in_a_filter_touches_no_job(
    lone_client: TestClient, lone_worker: Any, problem_in: Any, method: str, path: str, typo: str
) -> None:
    waits, failed = (lone_client.post("/jobs", json={"mode": "train", "config": {}}).json() for _ in range(2))
    lone_worker.release(lone_worker.claim(failed), State.FAILED)

    problem_in(lone_client.request(method, f"{path}?{typo}"), 422, "invalid")

    assert lone_client.get(waits["urls"]["self"]).json()["status"] == "queued"
    assert lone_client.get(failed["urls"]["self"]).json()["status"] == "failed"


def test_thousands_of_jobs_are_cancelled_in_one_transaction(client: TestClient, app: FastAPI, submit: Any) -> None:
    submit()
    with app.state.database.begin() as session:
        copy_jobs(session, 3_000)

    bulk = client.post("/jobs/cancel?status=queued").json()

    assert (bulk["changed"], len(bulk["ids"])) == (3_001, 1_000)
    assert client.get("/jobs?status=queued").json()["data"] == []
    last = client.get(f"/jobs/{bulk['ids'][-1]}/events").json()["data"][-1]
    assert (last["type"], last["data"]) == ("state", {"state": "cancelled"})


def copy_jobs(session: Any, count: int) -> None:
    row = dict(session.execute(select(Job.__table__)).mappings().one())
    session.execute(insert(Job), [{**row, "id": ids.new("job")} for _ in range(count)])
