"""However a receiver answers, and wherever its address leads: its message is tried again, or given up, and says why."""

from datetime import datetime, timedelta
from typing import Any

from structlog.testing import capture_logs

from api.webhooks.public_addresses import Allowed
from api.webhooks.sender import WebhookSender
from jobs.webhooks import subscriptions
from tests.support.receiving import Receiver

SECOND = timedelta(seconds=1)


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

    with capture_logs() as told_to_the_operator:
        strict.send_all_due(now)

    assert receiver.got == []
    (row,) = log(webhook_id)
    assert (row.state, row.last_status) == ("pending", None)
    # Whoever may make a webhook reads this: it must not tell them which address a name has in our network.
    assert row.last_error.startswith("localhost leads to an address that is not public;")
    (line,) = [line for line in told_to_the_operator if line["event"] == "webhook_target_not_public"]
    assert line["host"] == "localhost"
    assert "127.0.0.1" in line["addresses"]
    assert not any(address in row.last_error for address in line["addresses"])
