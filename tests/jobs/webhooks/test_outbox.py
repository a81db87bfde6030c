"""The outbox, and a delivery for each event that a webhook wants."""

import re
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import event as sqlalchemy_event

import jobs
from jobs.log.events import EVENTS
from jobs.queue import find, leases, recording, requests, submit
from jobs.states import State
from jobs.tables import DeliveryState
from jobs.webhooks import fan_out, subscriptions
from kd import events as kd_events
from kd.spec import parse

SECOND = timedelta(seconds=1)


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


@pytest.mark.parametrize("clock_is_set_by", [0 * SECOND, -3_600 * SECOND, 3_600 * SECOND])
def test_a_webhook_hears_nothing_of_what_was_before_it_and_all_that_comes_after(add, hook, log, NOON, clock_is_set_by):
    hook()  # for which the outbox is kept
    add()
    late = hook(now=NOON + SECOND)
    after = add(now=NOON + 2 * SECOND + clock_is_set_by)

    assert [delivery.job_id for delivery in log(late)] == [after]


def test_one_that_is_made_in_the_place_of_another_hears_nothing_of_what_that_one_heard(db, add, hook, log):
    hook()
    gone = hook()
    add()
    with db.begin() as session:
        subscriptions.remove(session, gone)

    assert log(hook()) == []


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
    become_other_things = {"step", "saved", "wrote", "waiting", "made_safe", "ready", "stopped", "failed", "advanced"}
    assert {"phase", "noted"} <= trainers - become_other_things <= set(EVENTS)
    assert {f"state.{state}" for state in State} <= set(EVENTS)
