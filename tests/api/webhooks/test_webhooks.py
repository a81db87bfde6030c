"""Webhooks over HTTP: made, shown and refused; and a server tells a real receiver, by signed messages, what happens."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.testclient import TestClient

from jobs.log.events import EVENTS
from jobs.states import State
from tests.support.receiving import Receiver
from tests.support.waiting import wait_until


def delivered(client: TestClient, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    return list(client.get(f"{webhook['urls']['deliveries']}?state=delivered&limit=100").json()["data"])


# -- through the server -----------------------------------------------------------------------------------


def test_a_job_is_told_of_event_by_event_once_each_and_in_order(
    client: TestClient, submit: Callable[..., dict[str, Any]], worker: Any, receiver: Receiver
) -> None:
    made = client.post("/webhooks", json={"url": receiver.url(), "events": list(EVENTS), "label": "team=vision"})
    webhook = made.json()
    submit(name="another one")
    job = submit(name="mine", labels={"team": "vision"})
    claim = worker.claim(job)
    for step in range(3):
        worker.record(claim, events=[{"type": "evaluated", "data": {"step": step, "top1": "NaN"}}])
        worker.publish(claim, b"student", step=step)
    worker.release(claim, State.SUCCEEDED)
    wait_until(lambda: len(delivered(client, webhook)) == 10)

    events = client.get(job["urls"]["events"]).json()["data"]
    messages = [received.verified(webhook["secret"]) for received in receiver.got]
    assert [message["data"]["event"] for message in messages] == events
    assert [event["seq"] for event in events] == list(range(1, 11))
    assert messages[0] == {
        "type": "job.state.queued",
        "timestamp": events[0]["at"],
        "data": {
            "id": job["id"],
            "name": "mine",
            "labels": {"team": "vision"},
            "url": job["urls"]["self"],
            "event": events[0],
        },
    }
    assert [message["type"] for message in messages][-1] == "job.state.succeeded"
    assert {received.path for received in receiver.got} == {"/hooks?from=stillhouse"}
    assert {received.headers["content-type"] for received in receiver.got} == {"application/json"}
    assert b": " not in receiver.got[0].body
    log = delivered(client, webhook)
    assert [(row["id"], row["seq"]) for row in log] == [
        (received.id, event["seq"]) for received, event in zip(receiver.got, events, strict=True)
    ][::-1]
    assert {(row["tries"], row["last_status"], row["last_error"], row["next_try_at"]) for row in log} == {
        (1, 204, None, None)
    }


def test_a_signature_is_of_this_message_and_this_secret_only(
    client: TestClient, submit: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    webhook = client.post("/webhooks", json={"url": receiver.url()}).json()
    other = client.post("/webhooks", json={"url": "https://hooks.example/"}).json()
    submit()
    wait_until(lambda: receiver.got)
    (received,) = receiver.got

    assert received.verified(webhook["secret"])["type"] == "job.state.queued"
    with pytest.raises(WebhookVerificationError):
        received.verified(other["secret"])
    with pytest.raises(WebhookVerificationError):
        type(received)(received.path, received.headers, received.body + b" ").verified(webhook["secret"])


def test_a_webhook_is_made_shown_listed_and_deleted_and_its_secret_shown_once(
    client: TestClient, receiver: Receiver, problem_in: Any, caplog: Any, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    made = client.post("/webhooks", json={"url": receiver.url(), "events": ["state.failed", "state.failed"]})
    webhook = made.json()
    secret = webhook.pop("secret")

    assert (made.status_code, made.headers["location"]) == (201, f"/webhooks/{webhook['id']}")
    assert made.headers["cache-control"] == "no-store"
    assert secret.startswith("whsec_")
    assert client.get(webhook["urls"]["self"]).json() == webhook
    assert (webhook["object"], webhook["url"], webhook["label"]) == ("webhook", receiver.url(), None)
    assert (webhook["events"], webhook["disabled_at"]) == (["state.failed"], None)
    newer = client.post("/webhooks", json={"url": receiver.url()}).json()
    first = client.get("/webhooks?limit=1").json()
    assert [row["id"] for row in first["data"]] == [newer["id"]]
    assert client.get(f"/webhooks?after={first['next_cursor']}").json()["data"] == [webhook]
    assert client.post(webhook["urls"]["enable"]).json() == webhook
    assert client.delete(webhook["urls"]["self"]).status_code == 204
    problem_in(client.get(webhook["urls"]["self"]), 404, "webhook_not_found")
    said = caplog.text + "".join(capfd.readouterr())
    assert secret not in said
    assert secret.removeprefix("whsec_") not in said


def test_what_was_delivered_is_sent_once_more_when_somebody_asks(
    client: TestClient, submit: Callable[..., dict[str, Any]], receiver: Receiver, problem_in: Any
) -> None:
    webhook = client.post("/webhooks", json={"url": receiver.url()}).json()
    submit()
    wait_until(lambda: delivered(client, webhook))
    (row,) = delivered(client, webhook)

    again = client.post(row["urls"]["redeliver"])

    assert again.status_code == 202
    assert (again.json()["state"], again.json()["id"]) == ("pending", row["id"])
    assert again.json()["next_try_at"] is not None
    wait_until(lambda: len(receiver.got) == 2 and delivered(client, webhook))
    assert [received.id for received in receiver.got] == [row["id"]] * 2
    assert receiver.got[0].body == receiver.got[1].body
    for unknown in ("dlv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing"):
        url = f"{webhook['urls']['deliveries']}/{unknown}/redeliver"
        problem_in(client.post(url), 404, "delivery_not_found")
    assert client.get(f"{webhook['urls']['deliveries']}?state=failed").json()["data"] == []
    problem_in(client.get(f"{webhook['urls']['deliveries']}?state=lost"), 422, "invalid")


# -- what is refused at once ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://168.63.129.16/",
        "http://224.0.0.1/",
        "http://localhost/",
        "https://LOCALHOST./",
        "http://a.localhost/",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http://redis:6379/",
    ],
)
def test_an_address_that_is_not_public_is_refused_with_what_to_set(
    lone_client: TestClient, problem_in: Any, url: str
) -> None:
    problem = problem_in(lone_client.post("/webhooks", json={"url": url}), 422, "invalid")

    (error,) = problem["errors"]
    assert error["pointer"] == "/url"
    assert "not public" in error["message"]
    assert "STILLHOUSE_WEBHOOK_HOSTS" in error["message"]


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({}, "/url", "is missing"),
        ({"url": ""}, "/url", "at least 1 character"),
        ({"url": "ftp://hooks.example/"}, "/url", "https://"),
        ({"url": "hooks.example"}, "/url", "https://"),
        ({"url": "https:///x"}, "/url", "a host"),
        ({"url": "https://me:secret@hooks.example/"}, "/url", "no user or password"),
        ({"url": "https://hooks.example/#x"}, "/url", "fragment"),
        ({"url": "https://hooks.example:70000/"}, "/url", "port"),
        ({"url": "https://hooks example/"}, "/url", "no host"),
        ({"url": "https://" + "a" * 70 + ".example/"}, "/url", "no host"),
        ({"url": "https://hooks.example/\r\nX: y"}, "/url", "control characters"),
        ({"url": "https://hooks.example/" + "x" * 2000}, "/url", "at most 2000"),
        ({"url": 3}, "/url", "should be a string"),
        ({"url": "https://hooks.example/", "events": ["state.suceeded"]}, "/events/0", "state.succeeded"),
        ({"url": "https://hooks.example/", "events": ["state"] * 100}, "/events", "at most"),
        ({"url": "https://hooks.example/", "label": "=x"}, "/label", "no key"),
        ({"url": "https://hooks.example/", "label": "team=a\nb"}, "/label", "control characters"),
        ({"url": "https://hooks.example/", "event": []}, "/event", "events"),
        ([], "", "should be an object"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said_where_it_is(
    lone_client: TestClient, problem_in: Any, body: Any, pointer: str, said: str
) -> None:
    problem = problem_in(lone_client.post("/webhooks", json=body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert said in problem["errors"][0]["message"]
    assert "secret@" not in problem["detail"]


def test_what_the_operator_allows_and_what_is_public_is_accepted(client: TestClient) -> None:
    for url in ("http://127.0.0.1:9/", "https://hooks.example/", "https://93.184.215.14:8443/x?y=z"):
        assert client.post("/webhooks", json={"url": url}).status_code == 201


def test_a_webhook_that_is_not_there_is_said_to_be_missing(lone_client: TestClient, problem_in: Any) -> None:
    for unknown in ("hook_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing", "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/enable"), ("GET", "/deliveries")):
            problem_in(lone_client.request(method, f"/webhooks/{unknown}{path}"), 404, "webhook_not_found")
    problem_in(lone_client.get("/webhooks?after=nothing"), 422, "invalid")
