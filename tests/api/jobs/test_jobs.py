"""GET /jobs and its filters, a job's life as clients see it, cancel, and events."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from jobs.states import State
from jobs.tables import Job

Submit = Callable[..., dict[str, Any]]

FIELDS = """id object status phase is_terminal mode name labels spec resolved_spec priority progress latest_metrics
    attempt worker error result parent_job_id created_at started_at finished_at updated_at cancel_requested_at urls
    limits keep_last waiting run_seconds estimate pause_requested_at"""


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


# -- lists ------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_without_gap_or_repeat_while_jobs_arrive(client: TestClient, submit: Submit) -> None:
    made = [submit()["id"] for _ in range(5)]
    seen: list[str] = []

    page = client.get("/jobs", params={"limit": 2}).json()
    while True:
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        submit()  # the newest come first, so those who read on are not disturbed
        page = client.get("/jobs", params={"limit": 2, "after": page["next_cursor"]}).json()

    assert seen == made[::-1]
    assert page["next_cursor"] is None
    assert page["object"] == "list"


def test_jobs_are_found_by_status_mode_label_text_and_time(client: TestClient, submit: Submit, worker: Any) -> None:
    old = submit("train", name="Old friend", labels={"team": "vision", "run": "1"})
    running = submit("guide", labels={"team": "speech"})
    new = submit("guide", name="100% new_run")
    worker.claim(running)

    assert ids(client.get("/jobs", params={"status": "running"})) == [running["id"]]
    assert ids(client.get("/jobs", params={"status": ["queued", "running"]})) == [
        new["id"],
        running["id"],
        old["id"],
    ]
    assert ids(client.get("/jobs?status=queued,running&mode=train")) == [old["id"]]
    assert ids(client.get("/jobs", params={"mode": "guide"})) == [new["id"], running["id"]]
    assert ids(client.get("/jobs", params={"label": "team=vision"})) == [old["id"]]
    assert ids(client.get("/jobs", params={"label": "team"})) == [running["id"], old["id"]]
    assert ids(client.get("/jobs", params={"label": "team=nobody"})) == []
    assert ids(client.get("/jobs", params={"q": "old FRIEND"})) == [old["id"]]
    assert ids(client.get("/jobs", params={"q": "0% new_"})) == [new["id"]]
    assert ids(client.get("/jobs", params={"q": "%"})) == [new["id"]]
    assert ids(client.get("/jobs", params={"created_after": old["created_at"]})) == [new["id"], running["id"]]
    assert ids(client.get("/jobs", params={"created_after": "2999-01-01T00:00:00Z"})) == []


@pytest.mark.parametrize(
    ("query", "pointer", "words"),
    [
        ("limit=0", "/limit", "greater than or equal to 1"),
        ("limit=101", "/limit", "less than or equal to 100"),
        ("limit=many", "/limit", "a whole number"),
        ("limit=%2B1", "/limit", "a whole number"),
        ("limit=1_0", "/limit", "a whole number"),
        ("limit=%201", "/limit", "a whole number"),
        ("limit=1.0", "/limit", "a whole number"),
        ("limit=%D9%A1", "/limit", "a whole number"),
        ("status=done", "/status", "'queued'"),
        ("mode=trian", "/mode", "'train', 'guide', 'ingest', 'evaluate' or 'export'"),
        ("after=%00", "/after", "cursor"),
        ("after=nonsense", "/after", "cursor"),
        ("q=%00", "/q", "control characters"),
        ("q=" + "x" * 201, "/q", "at most 200"),
        ("label=%00", "/label", "control characters"),
        ("label=%20team", "/label", "no key"),
        ("label=", "/label", "no key"),
        ("created_after=yesterday", "/created_after", "as in 2026-01-15T12:00:00Z"),
        ("created_after=2026-01-01T00:00:00", "/created_after", "timezone"),
        ("created_after=0001-01-01T00:00:00%2B14:00", "/created_after", "1970"),
        ("state=queued", "/state", "no such parameter"),
    ],
)
def test_a_wrong_query_is_refused(
    lone_client: TestClient, problem_in: Any, query: str, pointer: str, words: str
) -> None:
    problem = problem_in(lone_client.get(f"/jobs?{query}"), 422, "invalid")

    assert [(fault["in"], fault["pointer"]) for fault in problem["errors"]] == [("query", pointer)]
    assert words in problem["errors"][0]["message"]


def test_text_of_any_script_may_be_searched_for(client: TestClient, submit: Submit) -> None:
    job = submit(name="naïve \U0001f600 'quoted' \\ back%slash", labels={"k": "ß:ü"})

    assert ids(client.get("/jobs", params={"q": "\U0001f600 'q"})) == [job["id"]]
    assert ids(client.get("/jobs", params={"q": "\\ back%"})) == [job["id"]]
    assert ids(client.get("/jobs", params={"q": "NAÏVE"})) == [job["id"]]
    assert ids(client.get("/jobs", params={"label": "k=ß:ü"})) == [job["id"]]


# -- one job ----------------------------------------------------------------------------------------------


def test_a_job_is_shown_whole_through_its_life(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit(name="first")
    assert set(job) == set(FIELDS.split())
    assert (job["status"], job["is_terminal"], job["attempt"], job["worker"]) == ("queued", False, 0, None)
    assert job["progress"]["fraction"] == 0

    claim = worker.claim(job)
    progress = {"fraction": 0.5, "phase": "student", "epoch": 2, "epochs": 4, "step": 80}
    progress |= {"repetition": 2, "repetitions": 5}
    speed = {"images_per_second": 1234.5, "eta_seconds": math.nan}
    worker.record(
        claim, phase="student", progress=progress | speed, latest_metrics={"student.loss": math.inf, "lr": 0.1}
    )
    answer = client.get(f"/jobs/{job['id']}")
    shown = answer.json()
    assert answer.headers["retry-after"] == "1"
    assert (shown["status"], shown["phase"], shown["attempt"], shown["worker"]) == ("running", "student", 1, "w1")
    assert shown["progress"] == progress | {"images_per_second": 1234.5, "eta_seconds": "NaN"}
    assert shown["latest_metrics"] == {"student.loss": "Infinity", "lr": 0.1}
    assert shown["started_at"].endswith("Z")

    result = {
        "metrics": {"gain": 0.01, "student.parameters": 1234},
        "best_checkpoint": None,
        "seconds": {"teacher": 3.5},
        "verdict": {"code": "undecided", "message": "UNDECIDED: …", "to_decide": {"seeds": 9}},
    }
    worker.release(claim, State.SUCCEEDED, result=result)
    answer = client.get(f"/jobs/{job['id']}")
    shown = answer.json()
    assert (shown["progress"]["fraction"], shown["progress"]["eta_seconds"]) == (1, 0)
    assert "retry-after" not in answer.headers
    assert (shown["status"], shown["is_terminal"], shown["worker"]) == ("succeeded", True, None)
    assert shown["result"] == result
    assert shown["finished_at"] >= shown["started_at"] >= shown["created_at"]


def test_a_failed_job_says_why(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit()
    error = {"code": "diverged", "message": "The loss is NaN at step 3.", "hint": "Lower lr.", "retryable": False}
    error["suggested_patch"] = {"config": {"optimizer": {"lr": 0.005}}}

    worker.release(worker.claim(job), State.FAILED, error=error)

    assert client.get(f"/jobs/{job['id']}").json()["error"] == error


UNKNOWN_IDS = [
    "job_01J00000000000000000000000",
    "job_1",
    "ckpt_01J00000000000000000000000",
    "x" * 5_000,
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%ff",
    "job_01J0000000000000000000000%0A",
    "job_०1J0000000000000000000000",
]


@pytest.mark.parametrize("job_id", UNKNOWN_IDS)
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/events",
        "/metrics",
        "/logs",
        "/checkpoints",
        "/checkpoints/best",
        "/checkpoints/best/download",
        "/artifacts",
    ],
)
def test_there_is_nothing_under_an_id_that_is_no_job(
    lone_client: TestClient, problem_in: Any, job_id: str, path: str
) -> None:
    problem_in(lone_client.get(f"/jobs/{job_id}{path}"), 404)


def test_an_unknown_job_is_not_found_on_either_database(client: TestClient, problem_in: Any) -> None:
    job_id = UNKNOWN_IDS[0]

    problem = problem_in(client.get(f"/jobs/{job_id}"), 404, "job_not_found")

    assert job_id in problem["detail"]
    problem_in(client.post(f"/jobs/{job_id}/cancel"), 404, "job_not_found")


# -- cancel -----------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once(client: TestClient, submit: Submit) -> None:
    job = submit()

    answer = client.post(f"/jobs/{job['id']}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["is_terminal"]
    assert client.post(f"/jobs/{job['id']}/cancel").status_code == 200


def test_a_running_job_is_asked_to_stop(client: TestClient, submit: Submit, worker: Any) -> None:
    job = submit()
    worker.claim(job)

    answer = client.post(f"/jobs/{job['id']}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert answer.json()["cancel_requested_at"].endswith("Z")
    assert client.post(f"/jobs/{job['id']}/cancel").status_code == 200


def test_a_finished_job_cannot_be_cancelled(client: TestClient, submit: Submit, worker: Any, problem_in: Any) -> None:
    job = submit()
    worker.release(worker.claim(job), State.SUCCEEDED, result={})

    problem = problem_in(client.post(f"/jobs/{job['id']}/cancel"), 409, "not_allowed")

    assert problem["allowed"] == ["retry", "delete"]
    assert client.get(f"/jobs/{job['id']}").json()["status"] == "succeeded"


# -- events -------------------------------------------------------------------------------------------


def test_events_are_numbered_without_a_gap_and_read_page_by_page(
    client: TestClient, submit: Submit, worker: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    worker.record(claim, events=[{"type": "noted", "data": {"n": n, "loss": math.nan}} for n in range(5)])
    url = job["urls"]["events"]

    everything = client.get(url).json()["data"]
    first = client.get(url, params={"limit": 3}).json()
    rest = client.get(url, params={"after": first["next_cursor"]}).json()

    assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
    assert first["data"] + rest["data"] == everything
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert [event["data"] for event in everything[-5:]] == [{"n": n, "loss": "NaN"} for n in range(5)]
    assert [event["data"]["state"] for event in everything if event["type"] == "state"] == ["queued", "running"]
    assert client.get(url, params={"after": 2**31 - 1}).json()["data"] == []


@pytest.mark.parametrize("query", ["after=-1", "after=2147483648", "limit=0", "limit=1001", "seq=1"])
def test_a_wrong_page_of_events_is_refused(lone_client: TestClient, problem_in: Any, query: str) -> None:
    problem_in(lone_client.get(f"/jobs/{UNKNOWN_IDS[0]}/events?{query}"), 422)


def test_a_page_of_large_jobs_is_cut_by_its_bytes_and_goes_on(client: TestClient, app: FastAPI, submit: Submit) -> None:
    large = [submit()["id"] for _ in range(8)]
    spec = {"mode": "train", "config": {"objective": {"class_weights": [1 / 3] * 4_000}}}
    with app.state.database.begin() as session:
        session.execute(update(Job).values(spec=spec, resolved_spec=spec))

    seen, after, pages = [], None, 0
    while pages == 0 or after:
        answer = client.get("/jobs", params={"after": after} if after else {})
        assert len(answer.content) < 600_000
        seen += ids(answer)
        after, pages = answer.json()["next_cursor"], pages + 1

    assert seen == large[::-1]
    assert pages > 1
