"""Webhooks as rows: what users see of them and do."""

import base64
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from jobs.errors import DeliveryNotFound, WebhookNotFound
from jobs.queue import delete, requests
from jobs.tables import DeliveryState
from jobs.webhooks import subscriptions
from jobs.webhooks.subscriptions import TooManyWebhooks, UnknownEvent

URL = "https://hooks.example/stillhouse"
SECOND = timedelta(seconds=1)


def test_the_secret_is_new_each_time_and_long_enough(db):
    with db.begin() as session:
        secrets = {subscriptions.add(session, URL)[1] for _ in range(3)}

    assert len(secrets) == 3
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24


def test_a_database_error_does_not_tell_the_secret(db):
    with db.begin() as session:
        session.execute(text("ALTER TABLE webhooks DROP COLUMN label"))
        with pytest.raises(StatementError) as refused:
            subscriptions.add(session, URL)
        session.rollback()

    assert "INSERT INTO webhooks" in str(refused.value)
    assert "whsec_" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [("state.suceeded", "state.succeeded"), ("checkpoints", "checkpoint"), ("", "there are state"), ("x\x00", "are")],
)
def test_an_unknown_event_is_refused_with_the_nearest_that_there_are(db, word, said):
    with db.begin() as session, pytest.raises(UnknownEvent, match=said):
        subscriptions.add(session, URL, ["state", word])


def test_there_are_only_so_many_webhooks(db, monkeypatch):
    monkeypatch.setattr(subscriptions, "MOST", 2)

    with db.begin() as session:
        subscriptions.add(session, URL)
        subscriptions.add(session, URL)
        with pytest.raises(TooManyWebhooks, match="There are 2 webhooks"):
            subscriptions.add(session, URL)


def test_pages_of_webhooks_and_of_their_deliveries_go_from_the_newest_back(db, add, hook, take, succeed, NOON):
    hooks = [hook(now=NOON + i * SECOND) for i in range(3)]
    for i in range(5):
        add(now=NOON + i * SECOND)
    succeed(take(without=hooks[1:]))

    with db.read() as session:
        first = subscriptions.page(session, limit=2)
        rest = subscriptions.page(session, limit=2, after=first.items[-1].id)
        top = subscriptions.deliveries(session, hooks[0], limit=3)
        bottom = subscriptions.deliveries(session, hooks[0], limit=3, after=top.items[-1].id)
        delivered = subscriptions.deliveries(session, hooks[0], state=DeliveryState.DELIVERED)
        nothing = subscriptions.page(session, after="\x00")

    assert [row.id for row in first.items + rest.items] == hooks[::-1]
    assert (first.next_cursor, rest.next_cursor) == (first.items[-1].id, None)
    times = [row.created_at for row in top.items + bottom.items]
    assert times == [NOON + i * SECOND for i in (4, 3, 2, 1, 0)]
    assert (top.next_cursor, bottom.next_cursor) == (top.items[-1].id, None)
    assert [row.created_at for row in delivered.items] == [NOON]
    assert nothing.items == []


def test_what_was_delivered_or_given_up_can_be_sent_once_more_under_its_id(db, add, hook, take, succeed, log, NOON):
    webhook_id = hook()
    add()
    claim = take()

    with db.begin() as session:
        assert subscriptions.redeliver(session, webhook_id, claim.id, now=NOON)[1] is False  # it is on its way
    succeed(claim)
    later = NOON + SECOND
    with db.begin() as session:
        row, changed = subscriptions.redeliver(session, webhook_id, claim.id, now=later)

    assert changed
    assert (row.state, row.tries, row.delivered_at, row.last_status) == (DeliveryState.PENDING, 0, None, None)
    again = take(now=later)
    assert (again.id, again.event.seq, again.tries) == (claim.id, 1, 1)
    assert len(log(webhook_id)) == 1


def test_what_is_not_there_is_said_to_be_missing(db, add, hook, take):
    webhook_id, other = hook(), hook("noted")
    add()
    claim = take()

    for call in (subscriptions.get, subscriptions.enable, subscriptions.remove, subscriptions.deliveries):
        for unknown in ("hook_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing", "\x00"):
            with db.begin() as session, pytest.raises(WebhookNotFound):
                call(session, unknown)
    for unknown in ("dlv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing"):
        with db.begin() as session, pytest.raises(DeliveryNotFound):
            subscriptions.redeliver(session, webhook_id, unknown)
    with db.begin() as session, pytest.raises(DeliveryNotFound):
        subscriptions.redeliver(session, other, claim.id)


def test_a_webhook_takes_its_deliveries_with_it_and_a_job_does_not(db, add, hook, take, succeed, log, NOON):
    one, two = hook(), hook()
    job_id = add()
    sending = take(without=[two])

    with db.begin() as session:
        subscriptions.remove(session, one)
    with db.read() as session, pytest.raises(WebhookNotFound):
        subscriptions.get(session, one)
    assert len(log(two)) == 1

    with db.begin() as session:
        requests.cancel(session, job_id, now=NOON)
        delete.delete_job(session, job_id)
    assert [delivery.job_id for delivery in log(two)] == [job_id]  # the log tells what was sent, for a month
    assert succeed(sending)
