"""Deliveries on their way: sent by one at a time, tried again, given up."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from jobs.queue import delete, find, requests, submit
from jobs.tables import Delivery, DeliveryState, Job, OutboxEntry
from jobs.webhooks import deliveries, fan_out, subscriptions
from jobs.webhooks.deliveries import DELAYS, LEASE
from jobs.webhooks.subscriptions import WebhookDisabled
from kd.spec import parse

SECOND = timedelta(seconds=1)


def test_a_claim_holds_all_that_is_to_be_sent(add, hook, take, NOON):
    webhook_id = hook()
    job_id = add(name="mine", labels={"team": "vision"})

    claim = take()

    assert (claim.webhook_id, claim.url, claim.job_id, claim.tries) == (
        webhook_id,
        "https://hooks.example/stillhouse",
        job_id,
        1,
    )
    assert (claim.at, claim.until) == (NOON, NOON + LEASE)
    assert (claim.job_name, claim.labels) == ("mine", {"team": "vision"})
    assert (claim.event.seq, claim.event.type, claim.event.data) == (1, "state", {"state": "queued"})
    assert claim.secret not in repr(claim)
    assert take() is None


def test_the_databases_clock_decides_when_nobody_says_the_time(db, hook, tell, log):
    webhook_id = hook()
    with db.begin() as session:
        submit.add_job(session, parse({"mode": "train", "config": {}}))
    tell()
    with db.begin() as session:
        assert deliveries.is_due(session)
        claim = deliveries.claim(session)
    with db.begin() as session:
        assert deliveries.succeed(session, claim, 200)
        assert not deliveries.is_due(session)

    (only,) = log(webhook_id)
    assert (only.state, only.last_status) == (DeliveryState.DELIVERED, 200)
    assert claim.at <= only.delivered_at


def test_events_of_a_job_go_out_one_after_the_other(add, claim, hook, take, succeed):
    hook()
    add()
    claim()

    first = take()
    assert take() is None  # the second one waits for the outcome of the first
    succeed(first)
    second = take()

    assert [first.event.seq, second.event.seq] == [1, 2]


def test_an_event_that_does_not_arrive_does_not_hold_up_the_next(add, claim, hook, take, fail, NOON):
    hook()
    add()
    claim()

    fail(take())
    second = take()

    assert second.event.seq == 2
    retried = take(now=NOON + 6 * SECOND)
    assert (retried.event.seq, retried.tries) == (1, 2)


def test_jobs_and_webhooks_do_not_wait_for_each_other(add, hook, take):
    one, two = hook(), hook()
    jobs = {add(), add()}

    taken = [take() for _ in range(4)]

    assert {(claim.webhook_id, claim.job_id) for claim in taken} == {(h, job) for h in (one, two) for job in jobs}
    assert take() is None


def test_webhooks_with_enough_to_do_are_left_out(db, add, hook, take, NOON):
    one, two = hook(), hook()
    add()

    assert take(without=[one]).webhook_id == two
    assert take(without=[one]) is None
    with db.read() as session:
        assert not deliveries.is_due(session, without=[one], now=NOON)
        assert deliveries.is_due(session, now=NOON)


def test_two_senders_at_the_same_moment_take_different_deliveries(db, engine, add, hook, tell, NOON):
    hook()
    add(), add()
    tell()
    if engine.dialect.name == "sqlite":  # which has only one writer at any moment
        with db.begin() as one:
            first = deliveries.claim(one, now=NOON)
        with db.begin() as two:
            second = deliveries.claim(two, now=NOON)
    else:
        with db.begin() as one, db.begin() as two:
            first, second = deliveries.claim(one, now=NOON), deliveries.claim(two, now=NOON)

    assert first.id != second.id


def test_what_a_dead_sender_had_taken_is_sent_by_another_one_under_the_same_id(add, hook, take, succeed, log, NOON):
    webhook_id = hook()
    add()
    dead = take()

    assert take(now=NOON + LEASE - SECOND) is None
    late = NOON + LEASE
    again = take(now=late)

    assert (again.id, again.tries) == (dead.id, 2)
    assert not succeed(dead, now=late)  # it was only slow: too late to say so
    assert log(webhook_id)[0].state is DeliveryState.PENDING
    assert succeed(again, now=late)
    assert log(webhook_id)[0].state is DeliveryState.DELIVERED


def test_tries_follow_the_schedule_and_end(add, hook, take, fail, log, NOON):
    webhook_id = hook()
    add()
    now = NOON

    for number, delay in enumerate(DELAYS, 1):
        claim = take(now=now)
        assert claim.tries == number
        assert fail(claim, now=now)
        (row,) = log(webhook_id)
        assert (row.state, row.last_status) == (DeliveryState.PENDING, 500)
        assert now + delay <= row.next_try_at <= now + 1.1 * delay
        assert take(now=row.next_try_at - SECOND) is None
        now = row.next_try_at
    assert fail(take(now=now), status=None, now=now)

    (row,) = log(webhook_id)
    assert (row.state, row.tries, row.last_status) == (DeliveryState.FAILED, 10, None)
    assert take(now=now + timedelta(days=30)) is None
    assert now - NOON > timedelta(days=3)


def test_a_receiver_that_is_gone_is_told_nothing_more_until_somebody_enables_it(db, add, hook, take, fail, log, NOON):
    webhook_id, other = hook(), hook()
    add(), add()
    claim = take(without=[other])

    fail(claim, status=410)

    with db.read() as session:
        assert subscriptions.get(session, webhook_id).disabled_at == NOON
    assert {delivery.state for delivery in log(webhook_id)} == {DeliveryState.FAILED}
    assert {delivery.last_error for delivery in log(webhook_id)} == {
        "the receiver answered 410",
        "The receiver has answered 410 Gone to another delivery, so the webhook was disabled.",
    }
    assert {delivery.state for delivery in log(other)} == {DeliveryState.PENDING}
    add()
    assert len(log(webhook_id)) == 2
    with db.begin() as session, pytest.raises(WebhookDisabled, match="enable it first"):
        subscriptions.redeliver(session, webhook_id, claim.id)

    add()  # of which nobody makes a delivery before it is enabled
    with db.begin() as session:
        assert subscriptions.enable(session, webhook_id).disabled_at is None
    add()
    assert [delivery.state for delivery in log(webhook_id)][2:] == [DeliveryState.PENDING]


def test_what_a_sender_is_still_writing_holds_up_what_follows(db, engine, add, claim, hook, tell, take, NOON):
    hook()
    job_id = add()
    with db.begin() as session:
        fan_out.fan_out(session)
        session.execute(insert(OutboxEntry), [{"job_id": job_id, "seq": 0, "at": NOON}])  # in the hands of another

        assert not deliveries.is_due(session, now=NOON)
        session.rollback()

    assert take().event.seq == 1


def test_what_waits_of_a_webhook_that_is_gone_is_given_up_and_holds_up_no_other(db, add, hook, tell, take, monkeypatch):
    monkeypatch.setattr(deliveries, "TOGETHER", 2)
    gone, other = hook(), hook()
    jobs = [add() for _ in range(5)]
    tell()
    with db.begin() as session:
        subscriptions.remove(session, gone)

    taken = [take() for _ in range(5)]

    assert [(claim.webhook_id, claim.job_id) for claim in taken] == [(other, job_id) for job_id in jobs]
    assert take() is None
    with db.read() as session:
        states = session.execute(select(Delivery.state).where(Delivery.webhook_id == gone)).scalars().all()
    assert states == 5 * [DeliveryState.FAILED]


def test_what_waits_of_a_job_that_is_gone_is_given_up_and_nothing_more_is_written(
    db, add, hook, tell, take, log, NOON, monkeypatch
):
    monkeypatch.setattr(deliveries, "ORPHANS_TOGETHER", 2)
    webhook_id = hook()
    *gone, kept = [add() for _ in range(5)]
    tell()
    with db.begin() as session:
        requests.cancel_all(session, find.matching(session, find.EVERY), now=NOON)
        delete.delete_all(session, [Job.id != kept])

    taken = [take() for _ in range(3)]

    assert [claim and claim.job_id for claim in taken] == [None, None, kept]  # some at a time are put aside
    told = {(delivery.job_id, delivery.seq): delivery for delivery in log(webhook_id)}
    assert set(told) == {(job_id, 1) for job_id in gone} | {(kept, 1), (kept, 2)}
    assert {told[job_id, 1].state for job_id in gone} == {DeliveryState.FAILED}
    assert {told[job_id, 1].last_error for job_id in gone} == {"The job was deleted before this was delivered."}


def test_a_clock_that_was_ahead_and_is_set_right_keeps_nothing_back(db, add, hook, tell, take, fail, NOON):
    hook(), hook()
    add()
    ahead = NOON + timedelta(hours=1)
    fail(take(now=ahead), now=ahead)  # backs off
    on_its_way = take(now=ahead)
    assert take(now=NOON) is None

    with db.begin() as session:
        found = deliveries.forget_clock_ahead(session, now=NOON), deliveries.forget_clock_ahead(session, now=NOON)

    assert found == (2, 0)
    assert {take(now=NOON).webhook_id, take(now=NOON).webhook_id} >= {on_its_way.webhook_id}
    assert take(now=NOON) is None


def test_what_happened_while_the_clock_was_ahead_is_told_by_the_one_that_is_right(db, add, hook, take):
    ahead = datetime.now(UTC) + timedelta(days=1)
    hook()
    add(now=ahead)

    claim = take(now=ahead - timedelta(hours=12))

    assert claim.event.at == ahead
