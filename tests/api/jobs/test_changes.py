"""What users change of a job that is there: pause, resume, rename, prioritise; and only if it is as they saw it."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.envelope import Change
from jobs.queue import requests
from jobs.webhooks import fan_out, subscriptions

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


# -- PATCH -----------------------------------------------------------------------------------------------------


def test_a_job_gets_another_name_other_labels_and_another_priority(client: TestClient, submit: Any) -> None:
    job = submit(name="old", labels={"a": "b"})

    changed = client.patch(job["urls"]["self"], json={"name": "new", "priority": 5}).json()
    nameless = client.patch(job["urls"]["self"], json={"name": None, "labels": {}}).json()

    assert (changed["name"], changed["labels"], changed["priority"]) == ("new", {"a": "b"}, 5)
    assert (nameless["name"], nameless["labels"], nameless["priority"]) == (None, {}, 5)
    kinds = [event["type"] for event in client.get(job["urls"]["events"]).json()["data"]]
    assert kinds == ["state", "changed", "changed"]


def test_a_job_that_has_ended_can_be_renamed_and_only_that_is_said_after_its_end(
    client: TestClient, ended: Any, app: FastAPI
) -> None:
    job = client.get(ended()["urls"]["self"]).json()
    url, listen = job["urls"]["events"], {"Accept": "text/event-stream"}
    end = client.get(url).json()["data"][-1]
    with app.state.database.begin() as session:
        webhook_id = subscriptions.add(session, "https://hooks.example/all", ("state", "changed"), None)[0].id
    heard = listen | {"Last-Event-ID": str(end["seq"])}
    assert client.get(url, headers=heard).status_code == 204

    renamed = client.patch(job["urls"]["self"], json={"name": "kept for the paper"}).json()

    assert renamed["name"] == "kept for the paper"
    assert (renamed["status"], renamed["finished_at"]) == (job["status"], job["finished_at"])
    (said,) = client.get(url, params={"after": end["seq"]}).json()["data"]
    assert (end["type"], said["type"], said["data"]) == ("state", "changed", {"name": "kept for the paper"})
    assert client.get(url, headers=heard).text.count("event: ") == 1, "who comes again is told, and let go"
    assert client.get(url, headers=listen | {"Last-Event-ID": str(said["seq"])}).status_code == 204
    with app.state.database.begin() as session:
        fan_out.fan_out(session)
        (delivery,) = subscriptions.deliveries(session, webhook_id, limit=10).items
    assert delivery.seq == said["seq"]


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


@pytest.mark.parametrize("condition", ["{}", "W/{}", "*"])
def test_a_change_that_is_not_wanted_of_this_very_job_is_not_made(
    client: TestClient, submit: Any, problem_in: Any, condition: str
) -> None:
    job = submit(name="old")
    unwanted = {"If-None-Match": condition.replace("{}", client.get(job["urls"]["self"]).headers["etag"])}

    problem_in(client.patch(job["urls"]["self"], json={"name": "new"}, headers=unwanted), 412, "precondition_failed")

    assert client.get(job["urls"]["self"]).json()["name"] == "old"


def test_a_job_is_shown_only_as_the_client_wants_it(client: TestClient, submit: Any, problem_in: Any) -> None:
    job = submit()
    seen = client.get(job["urls"]["self"]).headers["etag"]

    assert client.get(job["urls"]["self"], headers={"If-Match": seen}).status_code == 200
    problem_in(client.get(job["urls"]["self"], headers={"If-Match": '"other"'}), 412, "precondition_failed")


def test_a_change_to_what_is_so_already_is_none_and_says_nothing(client: TestClient, submit: Any) -> None:
    job = submit(name="x", labels={"a": "1"}, priority=3)

    for same in ({}, {"name": "x"}, {"labels": {"a": "1"}}, {"priority": 3, "name": "x"}):
        answer = client.patch(job["urls"]["self"], json=same)
        assert answer.status_code == 200
        assert answer.json()["updated_at"] == job["updated_at"]
    client.patch(job["urls"]["self"], json={"name": "y", "priority": 3})

    said = client.get(job["urls"]["events"]).json()["data"]
    assert [event["data"] for event in said if event["type"] == "changed"] == [{"name": "y"}]


def test_labels_are_bounded_in_bytes(client: TestClient, submit: Any, problem_in: Any) -> None:
    job, large = submit(), {f"k{number}": "é" * 150 for number in range(28)}

    problem = problem_in(client.patch(job["urls"]["self"], json={"labels": large}), 422, "invalid")

    assert problem["errors"][0]["pointer"] == "/labels"
    assert "8192 bytes" in problem["errors"][0]["message"]
    problem_in(client.post("/jobs", json={"mode": "train", "config": {}, "labels": large}), 422, "invalid")
