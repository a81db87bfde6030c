"""Webhooks as rows: a delivery for each event that is wanted, and what users see of them and do."""

import base64
import re
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.exc import StatementError

import jobs
from jobs.errors import DeliveryNotFound, WebhookNotFound
from jobs.log.events import EVENTS
from jobs.queue import delete, find, leases, recording, requests, submit
from jobs.states import State
from jobs.tables import DeliveryState
from jobs.webhooks import fan_out, subscriptions
from jobs.webhooks.subscriptions import TooManyWebhooks, UnknownEvent
from kd import events as kd_events
from kd.spec import parse

URL = "https://hooks.example/stillhouse"
SECOND = timedelta(seconds=1)


# -- the outbox -------------------------------------------------------------------------------------------


def test_of_many_jobs_that_one_statement_changes_each_is_told_to_those_that_want_it(db, add, hook, log, NOON):
    every, labelled = hook("state.cancelled"), hook("state.cancelled", label="team=a")
    jobs_ = {add(labels={"team": team}): team for team in "aabab"}

    with db.begin() as session:
        requests.cancel_all(session, [], now=NOON)

    assert {delivery.job_id for delivery in log(every)} == set(jobs_)
    assert {delivery.job_id for delivery in log(labelled)} == {job for job, team in jobs_.items() if team == "a"}
    assert {delivery.seq for delivery in log(every)} == {2}


def test_a_webhook_hears_of_every_change_of_state_unless_it_asks_for_something_else(
    db, add, claim, job, hook, log, NOON
):
    states, ends, all_of_it = hook(), hook("state.succeeded", "state.failed", "noted"), hook(*EVENTS)
    job_id = add()
    held = claim()
    with db.begin() as session:
        said = [{"type": "noted", "data": {}}, {"type": "round", "data": {}}, {"type": "noted", "data": {}}]
        recording.record(session, held, events=said, now=NOON)
        leases.release(session, held, State.SUCCEEDED, now=NOON)

    assert [delivery.seq for delivery in log(states)] == [1, 2, 7]
    assert [delivery.seq for delivery in log(ends)] == [4, 6, 7]
    assert [delivery.seq for delivery in log(all_of_it)] == list(range(1, 8))
    assert {delivery.job_id for delivery in log(all_of_it)} == {job_id}
    assert {(delivery.state, delivery.tries) for delivery in log(states)} == {(DeliveryState.PENDING, 0)}
    assert job(job_id).events_seq == 7


def test_a_label_chooses_whose_events_are_heard(add, hook, log):
    by_key, by_pair = hook(label="team"), hook(label="team=vision")
    vision, speech = add(labels={"team": "vision"}), add(labels={"team": "speech"})
    add(labels={"Team": "vision", "x": "team=vision"})

    assert [delivery.job_id for delivery in log(by_key)] == [vision, speech]
    assert [delivery.job_id for delivery in log(by_pair)] == [vision]


def test_nothing_is_delivered_of_what_was_taken_back(db, add, hook, log, NOON):
    webhook_id = hook()

    with suppress(ZeroDivisionError), db.begin() as session:
        submit.add_job(session, parse({"mode": "train", "config": {}}), now=NOON)
        raise ZeroDivisionError

    assert log(webhook_id) == []
    add()
    assert [delivery.seq for delivery in log(webhook_id)] == [1]


def test_many_jobs_cancelled_at_once_are_all_told_of(db, add, hook, log, NOON):
    jobs = [add() for _ in range(5)]
    webhook_id = hook()

    with db.begin() as session:
        requests.cancel_all(session, find.matching(session, find.EVERY), now=NOON)

    assert {delivery.job_id for delivery in log(webhook_id)} == set(jobs)
    assert {delivery.seq for delivery in log(webhook_id)} == {2}


def test_without_webhooks_a_transaction_asks_for_them_once(db, add, engine, NOON):
    for _ in range(5):
        add()
    asked: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, *_3: asked.append(statement))

    with db.begin() as session:
        cancelled = requests.cancel_all(session, find.matching(session, find.EVERY), now=NOON)

    assert len(cancelled) == 5
    assert sum("webhooks" in statement for statement in asked) == 1
    assert not [statement for statement in asked if "outbox" in statement]


@pytest.mark.parametrize("meanwhile", ["deleted", "disabled"])
def test_a_webhook_that_goes_while_a_job_speaks_does_not_disturb_the_job(
    db, engine, add, claim, events, hook, log, NOON, meanwhile
):
    webhook_id = hook("claimed", "noted")
    job_id = add()
    held = claim()
    write = (
        (lambda session: subscriptions.remove(session, webhook_id))
        if meanwhile == "deleted"
        else (lambda session: subscriptions.disable(session, webhook_id, "gone", now=NOON))
    )

    def go_away():
        with db.begin() as session:
            write(session)

    other = threading.Thread(target=go_away)
    with db.begin() as session:
        recording.record(session, held, events=[{"type": "round", "data": {}}], now=NOON)  # has read who listens
        other.start()
        if engine.dialect.name == "postgresql":
            other.join()  # on SQLite it waits for us
        recording.record(session, held, events=[{"type": "noted", "data": {}}], now=NOON)
    other.join()

    assert [kind for kind, _ in events(job_id)][-2:] == ["round", "noted"]
    if meanwhile == "disabled":
        assert log(webhook_id) == []


def test_disabling_waits_for_what_is_being_written(db, add, hook, log, NOON):
    webhook_id = hook()
    add()

    def disable():
        with db.begin() as session:
            subscriptions.disable(session, webhook_id, "gone", now=NOON)

    other = threading.Thread(target=disable)
    with db.begin() as session:
        fan_out.fan_out(session)
        other.start()
        other.join(0.2)
        assert other.is_alive()
    other.join()
    add()

    (only,) = log(webhook_id)
    assert (only.state, only.last_error) == (DeliveryState.FAILED, "gone")


def test_a_webhook_hears_nothing_of_what_was_before_it(add, hook, log, NOON):
    hook()  # for which the outbox is kept
    add()
    add(now=NOON + 2 * SECOND)
    late = hook(now=NOON + SECOND)

    assert [delivery.created_at for delivery in log(late)] == [NOON + 2 * SECOND]


def test_a_transaction_of_many_jobs_writes_a_row_to_each_however_many_listen(db, engine, add, hook, log, NOON):
    hooks = [hook("state.cancelled") for _ in range(20)]
    jobs_ = [add() for _ in range(30)]
    written: dict[str, int] = {}

    def count(connection, cursor, statement, *_):
        if statement.startswith("INSERT"):
            written[statement.split()[2]] = written.get(statement.split()[2], 0) + max(cursor.rowcount, 0)

    sqlalchemy_event.listen(engine, "after_cursor_execute", count)
    with db.begin() as session:
        requests.cancel_all(session, find.matching(session, find.EVERY), now=NOON)

    assert written == {"events": 30, "outbox": 30}
    assert {delivery.job_id for delivery in log(hooks[0])} == set(jobs_)
    assert written["deliveries"] == 30 * 20


def test_only_so_many_deliveries_are_written_in_one_transaction(db, add, hook, take, NOON, monkeypatch):
    monkeypatch.setattr(fan_out, "TOGETHER", 7)
    hooks = [hook() for _ in range(3)]
    for i in range(5):
        add(now=NOON + i * SECOND)

    rows = []
    while not rows or rows[-1]:
        with db.begin() as session:
            more = fan_out.fan_out(session)
            count = sum(len(subscriptions.deliveries(session, one).items) for one in hooks)
        rows.append(count - sum(rows) if more else 0)

    assert rows == [6, 6, 3, 0]


def test_every_event_that_is_written_can_be_asked_for():
    code = "".join(path.read_text() for path in Path(jobs.__file__).parent.rglob("*.py"))
    ours = set(re.findall(r'NewEvent\("(\w+)"', code)) | set(re.findall(r'State\.\w+: "(\w+)"', code))
    union, _ = get_args(kd_events.Event)
    trainers = {member.model_fields["event"].default for member in get_args(union)}

    assert {"state", "claimed", "cancel_requested"} <= ours <= set(EVENTS)
    become_other_things = {"step", "saved", "wrote", "waiting", "labels_kept", "ready", "stopped", "failed", "advanced"}
    assert {"phase", "noted"} <= trainers - become_other_things <= set(EVENTS)
    assert {f"state.{state}" for state in State} <= set(EVENTS)


# -- what users do ----------------------------------------------------------------------------------------


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
