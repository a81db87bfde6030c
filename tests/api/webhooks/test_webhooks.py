"""Webhooks over HTTP: a real receiver on loopback is told, by signed messages, of all that happens to jobs."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.testclient import TestClient

from api.webhooks import sender as webhook_sender
from api.webhooks.public_addresses import Allowed
from api.webhooks.sender import AT_ONCE_TO_ONE, MANY, WebhookSender
from jobs.log.events import EVENTS
from jobs.queue import leases, recording, submit
from jobs.settings import Settings
from jobs.states import State
from jobs.tables import Delivery
from jobs.webhooks import deliveries, subscriptions
from jobs.webhooks.deliveries import LEASE
from kd.spec import parse
from tests.support.receiving import Receiver
from tests.support.waiting import wait_until

SECOND = timedelta(seconds=1)
LOOPBACK = "127.0.0.0/8"


@pytest.fixture(autouse=True)
def _senders_that_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "EVERY_SECONDS", 0.05)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, webhook_hosts=LOOPBACK)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def now() -> datetime:
    """Receivers look at the time of a message, so it has to be about now."""
    return datetime.now(UTC)


@pytest.fixture
def sender(db: Any) -> WebhookSender:
    """A server's sender, by hand: it sends when a test says so, at the time that a test says."""
    return WebhookSender(db, Allowed(networks=Settings(webhook_hosts=LOOPBACK).allowed_hosts.networks))


@pytest.fixture
def hook(db: Any, receiver: Receiver, now: datetime) -> Callable[..., tuple[str, str]]:
    """Add a webhook; returns its id and its secret."""

    def hook(*events: str, url: str | None = None) -> tuple[str, str]:
        with db.begin() as session:
            row, secret = subscriptions.add(session, url or receiver.url(), events, now=now)
        return row.id, secret

    return hook


@pytest.fixture
def add(db: Any, now: datetime) -> Callable[[], str]:
    def add() -> str:
        with db.begin() as session:
            return submit.add_job(session, parse({"mode": "train", "config": {}}), now=now).id

    return add


@pytest.fixture
def log(db: Any) -> Callable[[str], list[Delivery]]:
    def log(webhook_id: str) -> list[Delivery]:
        with db.read() as session:
            return subscriptions.deliveries(session, webhook_id, limit=1000).items[::-1]

    return log


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


# -- when it does not go well -----------------------------------------------------------------------------


def test_a_refusal_is_tried_again_under_the_same_id_and_signed_anew(
    sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, secret = hook()
    add()
    receiver.answer(500, b"no room\x00 left\n")

    sender.send_all_due(now)
    (row,) = log(webhook_id)
    assert (row.state, row.tries, row.last_status) == ("pending", 1, 500)
    assert row.last_error == "the receiver answered 500: no room\ufffd left"
    sender.send_all_due(now + SECOND)
    assert len(receiver.got) == 1
    sender.send_all_due(now + 6 * SECOND)

    (row,) = log(webhook_id)
    assert (row.state, row.tries, row.last_status, row.last_error) == ("delivered", 2, 204, None)
    first, second = receiver.got
    assert first.id == second.id == row.id
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 6
    assert first.verified(secret) == second.verified(secret)


def test_a_receiver_that_was_down_gets_it_when_it_is_back(
    sender: WebhookSender, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    receiver = Receiver()
    with receiver.listening():
        pass
    webhook_id, secret = hook(url=receiver.url())
    add()

    sender.send_all_due(now)
    (row,) = log(webhook_id)
    assert (row.state, row.last_status) == ("pending", None)
    assert "refused" in row.last_error
    with receiver.listening():
        sender.send_all_due(now + 6 * SECOND)

    assert log(webhook_id)[0].state == "delivered"
    assert [received.verified(secret)["type"] for received in receiver.got] == ["job.state.queued"]


def test_a_sender_that_was_killed_is_followed_by_another_one(
    db: Any, sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, _ = hook()
    add()
    with db.begin() as session:
        dead = deliveries.claim(session, now=now)

    sender.send_all_due(now)
    assert receiver.got == []
    sender.send_all_due(now + LEASE)

    assert [received.id for received in receiver.got] == [dead.id]
    assert [(row.state, row.tries) for row in log(webhook_id)] == [("delivered", 2)]


def test_gone_disables_the_webhook(
    db: Any, sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, _ = hook()
    add()
    receiver.answer(410)

    sender.send_all_due(now)
    add()
    sender.send_all_due(now + 6 * SECOND)

    assert [(row.state, row.last_status) for row in log(webhook_id)] == [("failed", 410)]
    assert len(receiver.got) == 1
    with db.read() as session:
        assert subscriptions.get(session, webhook_id).disabled_at == now


def test_a_redirect_is_not_followed(
    sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, _ = hook()
    add()
    with Receiver().listening() as inside:
        receiver.answer(307, Location=inside.url())
        sender.send_all_due(now)

    assert inside.got == []
    assert len(receiver.got) == 1
    (row,) = log(webhook_id)
    assert (row.state, row.last_status) == ("pending", 307)
    assert "redirects are not followed" in row.last_error


def test_no_more_of_an_answer_is_read_than_is_needed(
    sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, _ = hook()
    add()
    receiver.answer(400, b"x" * 50_000_000)

    sender.send_all_due(now)

    (row,) = log(webhook_id)
    assert row.last_status == 400
    assert len(row.last_error) < 300


def test_proxies_of_the_environment_are_not_asked(
    sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, now: datetime, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    hook()
    add()

    sender.send_all_due(now)

    assert len(receiver.got) == 1


def test_a_name_that_leads_to_this_machine_is_found_out_when_connecting(
    sender: WebhookSender, db: Any, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    # It was public when the webhook was made, say. The sender of a server that allows nothing:
    strict = WebhookSender(db, Allowed())
    webhook_id, _ = hook(url=receiver.url("localhost"))
    add()

    strict.send_all_due(now)

    assert receiver.got == []
    (row,) = log(webhook_id)
    assert (row.state, row.last_status) == ("pending", None)
    assert "localhost leads to" in row.last_error
    assert "which is not public" in row.last_error


def test_a_slow_receiver_holds_up_nobody_else(
    db: Any, sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    with Receiver(hold=threading.Event()).listening() as slow:
        slow_id, _ = hook(url=slow.url())
        quick_id, _ = hook()
        for _ in range(5):
            add()
        # Its claims are by the database's clock, which the test's may be a little ahead of.
        sender.start()
        wait_until(lambda: [row.state for row in log(quick_id)] == ["delivered"] * 5)

        assert {row.state for row in log(slow_id)} == {"pending"}
        assert len(slow.got) <= AT_ONCE_TO_ONE
        assert slow.hold is not None
        slow.hold.set()
        wait_until(lambda: [row.state for row in log(slow_id)] == ["delivered"] * 5)
    sender.close()
    assert len({received.id for received in slow.got}) == len(slow.got) == 5


def test_however_many_are_slow_a_quick_one_is_not(
    sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any
) -> None:
    with Receiver(hold=threading.Event()).listening() as slow:
        for _ in range(MANY + 1):
            hook(url=slow.url())
        add()
        add()
        sender.start()
        wait_until(lambda: len(slow.got) > MANY)

        quick_id, _ = hook()
        add()
        wait_until(lambda: [row.state for row in log(quick_id)] == ["delivered"])

        assert slow.hold is not None
        slow.hold.set()
    sender.close()


def test_servers_share_the_work_and_send_nothing_twice(
    db: Any, sender: WebhookSender, receiver: Receiver, hook: Any, log: Any, now: datetime
) -> None:
    webhook_id, secret = hook(*EVENTS)
    jobs: list[str] = []
    other = WebhookSender(db, sender._allowed)
    sender.start()
    other.start()
    for _ in range(5):
        with db.begin() as session:
            jobs.append(submit.add_job(session, parse({"mode": "train", "config": {}})).id)
        with db.begin() as session:
            claim = leases.claim(session, worker="w", ttl=LEASE)
            assert claim is not None
        for number in range(4):
            with db.begin() as session:
                recording.record(session, claim, events=[{"type": "noted", "data": {"number": number}}])
        with db.begin() as session:
            leases.release(session, claim, State.SUCCEEDED)

    wait_until(lambda: [row.state for row in log(webhook_id)] == ["delivered"] * 5 * 8)
    sender.close()
    other.close()

    told: dict[str, list[int]] = {job: [] for job in jobs}
    for received in receiver.got:
        message = received.verified(secret)["data"]
        told[message["id"]].append(message["event"]["seq"])
    assert told == {job: list(range(1, 9)) for job in jobs}
