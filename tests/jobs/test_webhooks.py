"""Webhooks as rows: a delivery for each event that is wanted, sent by one at a time, tried again, and logged."""

import base64
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.exc import StatementError

import jobs
from jobs import deliveries, leases, requests, store, webhooks
from jobs.deliveries import DELAYS, KEPT, LEASE
from jobs.errors import DeliveryNotFound, WebhookNotFound
from jobs.models import Delivery, DeliveryState
from jobs.states import State
from jobs.webhooks import EVENTS, TooManyWebhooks, UnknownEvent, WebhookDisabled
from kd import events as kd_events
from kd.spec import parse

URL = "https://hooks.example/stillhouse"
SECOND = timedelta(seconds=1)


@pytest.fixture
def hook(db, NOON: datetime) -> Callable[..., str]:
    """Add a webhook; returns its id."""

    def hook(*events: str, label: str | None = None, now: datetime = NOON) -> str:
        with db.begin() as session:
            return webhooks.add(session, URL, events, label, now=now)[0].id

    return hook


@pytest.fixture
def log(db) -> Callable[..., list[Delivery]]:
    """All deliveries of a webhook, in the order in which they were added."""

    def log(webhook_id: str, **which: object) -> list[Delivery]:
        with db.read() as session:
            return webhooks.deliveries(session, webhook_id, limit=1000, **which).items[::-1]

    return log


@pytest.fixture
def take(db, NOON: datetime) -> Callable[..., deliveries.Claim | None]:
    def take(now: datetime = NOON, **which: object) -> deliveries.Claim | None:
        with db.begin() as session:
            return deliveries.claim(session, now=now, **which)

    return take


@pytest.fixture
def fail(db, NOON: datetime) -> Callable[..., bool]:
    def fail(claim: deliveries.Claim, status: int | None = 500, now: datetime = NOON) -> bool:
        with db.begin() as session:
            return deliveries.failed(session, claim, f"the receiver answered {status}", status, now=now)

    return fail


@pytest.fixture
def succeed(db, NOON: datetime) -> Callable[..., bool]:
    def succeed(claim: deliveries.Claim, now: datetime = NOON) -> bool:
        with db.begin() as session:
            return deliveries.succeeded(session, claim, 204, now=now)

    return succeed


def test_what_was_over_long_ago_leaves_the_log(db, add, hook, take, succeed, log, NOON):
    webhook = hook("state")
    add()
    succeed(take())
    add(now=NOON + SECOND)

    with db.begin() as session:
        forgotten = [deliveries.forget_old(session, now=NOON + timedelta(days=days)) for days in (29, 31)]

    assert forgotten == [0, 1]
    assert [delivery.state for delivery in log(webhook)] == [DeliveryState.PENDING]


def test_what_is_sent_once_more_at_that_very_moment_stays_in_the_log(db, add, hook, take, succeed, log, NOON):
    webhook_id = hook()
    add()
    succeed(take())

    def forget() -> None:
        with db.begin() as session:
            deliveries.forget_old(session, now=NOON + 2 * KEPT)

    forgetful = threading.Thread(target=forget)
    with db.begin() as session:
        webhooks.redeliver(session, webhook_id, log(webhook_id)[0].id, now=NOON)
        forgetful.start()
        forgetful.join(0.5)
    forgetful.join()

    assert [row.state for row in log(webhook_id)] == [DeliveryState.PENDING]


def test_so_many_that_they_would_hold_up_writers_leave_the_log_in_parts_the_oldest_first(
    db, add, hook, take, succeed, log, NOON, monkeypatch
):
    webhook = hook("state")
    for day in (2, 0, 1):
        add(now=NOON + timedelta(days=day))
    for _ in range(3):
        succeed(take(NOON + timedelta(days=2)))
    monkeypatch.setattr(deliveries, "FORGOTTEN_TOGETHER", 2)

    forgotten, kept = [], []
    for _ in range(3):
        with db.begin() as session:
            forgotten.append(deliveries.forget_old(session, now=NOON + timedelta(days=40)))
        kept.append([delivery.created_at for delivery in log(webhook)])

    assert forgotten == [2, 1, 0]
    assert kept == [[NOON + timedelta(days=2)], [], []]


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
        leases.record(session, held, events=said, now=NOON)
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
        store.add_job(session, parse({"mode": "train", "config": {}}), now=NOON)
        raise ZeroDivisionError

    assert log(webhook_id) == []
    add()
    assert [delivery.seq for delivery in log(webhook_id)] == [1]


def test_many_jobs_cancelled_at_once_are_all_told_of(db, add, hook, log, NOON):
    jobs = [add() for _ in range(5)]
    webhook_id = hook()

    with db.begin() as session:
        requests.cancel_all(session, store.matching(session, store.EVERY), now=NOON)

    assert {delivery.job_id for delivery in log(webhook_id)} == set(jobs)
    assert {delivery.seq for delivery in log(webhook_id)} == {2}


def test_without_webhooks_a_transaction_asks_for_them_once(db, add, engine, NOON):
    for _ in range(5):
        add()
    asked: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, *_3: asked.append(statement))

    with db.begin() as session:
        cancelled = requests.cancel_all(session, store.matching(session, store.EVERY), now=NOON)

    assert len(cancelled) == 5
    assert sum("webhooks" in statement for statement in asked) == 1
    assert not [statement for statement in asked if "deliveries" in statement]


@pytest.mark.parametrize("meanwhile", ["deleted", "disabled"])
def test_a_webhook_that_goes_while_a_job_speaks_does_not_disturb_the_job(
    db, engine, add, claim, events, hook, log, NOON, meanwhile
):
    webhook_id = hook("claimed", "noted")
    job_id = add()
    held = claim()
    write = (
        (lambda session: webhooks.remove(session, webhook_id))
        if meanwhile == "deleted"
        else (lambda session: webhooks.disable(session, webhook_id, "gone", now=NOON))
    )

    def go_away():
        with db.begin() as session:
            write(session)

    other = threading.Thread(target=go_away)
    with db.begin() as session:
        leases.record(session, held, events=[{"type": "round", "data": {}}], now=NOON)  # has read who listens
        other.start()
        if engine.dialect.name == "postgresql":
            other.join()  # on SQLite it waits for us
        leases.record(session, held, events=[{"type": "noted", "data": {}}], now=NOON)
    other.join()

    assert [kind for kind, _ in events(job_id)][-2:] == ["round", "noted"]
    if meanwhile == "disabled":
        assert {delivery.state for delivery in log(webhook_id)} == {DeliveryState.FAILED}


def test_disabling_waits_for_what_is_being_added(db, add, hook, log, NOON):
    webhook_id = hook()

    def disable():
        with db.begin() as session:
            webhooks.disable(session, webhook_id, "gone", now=NOON)

    other = threading.Thread(target=disable)
    with db.begin() as session:
        store.add_job(session, parse({"mode": "train", "config": {}}), now=NOON)
        other.start()
        other.join(0.2)
        assert other.is_alive()
    other.join()
    add()

    (only,) = log(webhook_id)
    assert (only.state, only.last_error) == (DeliveryState.FAILED, "gone")


def test_every_event_that_is_written_can_be_asked_for():
    code = "".join(path.read_text() for path in Path(jobs.__file__).parent.glob("*.py"))
    ours = set(re.findall(r'Said\("(\w+)"', code)) | set(re.findall(r'State\.\w+: "(\w+)"', code))
    union, _ = get_args(kd_events.Event)
    trainers = {member.model_fields["event"].default for member in get_args(union)}

    assert {"state", "claimed", "cancel_requested"} <= ours <= set(EVENTS)
    become_other_things = {"step", "saved", "wrote", "waiting", "labels_kept"}
    assert {"phase", "noted"} <= trainers - become_other_things <= set(EVENTS)
    assert {f"state.{state}" for state in State} <= set(EVENTS)


# -- sending ----------------------------------------------------------------------------------------------


def test_a_claim_holds_all_that_is_to_be_sent(add, hook, take, NOON):
    webhook_id = hook()
    job_id = add(name="mine", labels={"team": "vision"})

    claim = take()

    assert (claim.webhook_id, claim.url, claim.job_id, claim.tries) == (webhook_id, URL, job_id, 1)
    assert (claim.at, claim.until) == (NOON, NOON + LEASE)
    assert (claim.job_name, claim.labels) == ("mine", {"team": "vision"})
    assert (claim.event.seq, claim.event.type, claim.event.data) == (1, "state", {"state": "queued"})
    assert claim.secret not in repr(claim)
    assert take() is None


def test_the_databases_clock_decides_when_nobody_says_the_time(db, hook, log):
    webhook_id = hook()
    with db.begin() as session:
        store.add_job(session, parse({"mode": "train", "config": {}}))
    with db.begin() as session:
        assert deliveries.is_due(session)
        claim = deliveries.claim(session)
    with db.begin() as session:
        assert deliveries.succeeded(session, claim, 200)
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


def test_two_senders_at_the_same_moment_take_different_deliveries(db, engine, add, hook, NOON):
    hook()
    add(), add()
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
        assert webhooks.get(session, webhook_id).disabled_at == NOON
    assert {delivery.state for delivery in log(webhook_id)} == {DeliveryState.FAILED}
    assert {delivery.last_error for delivery in log(webhook_id)} == {
        "the receiver answered 410",
        "The receiver has answered 410 Gone to another delivery, so the webhook was disabled.",
    }
    assert {delivery.state for delivery in log(other)} == {DeliveryState.PENDING}
    add()
    assert len(log(webhook_id)) == 2
    with db.begin() as session, pytest.raises(WebhookDisabled, match="enable it first"):
        webhooks.redeliver(session, webhook_id, claim.id)

    with db.begin() as session:
        assert webhooks.enable(session, webhook_id).disabled_at is None
    add()
    assert [delivery.state for delivery in log(webhook_id)][2:] == [DeliveryState.PENDING]


# -- what users do ----------------------------------------------------------------------------------------


def test_the_secret_is_new_each_time_and_long_enough(db):
    with db.begin() as session:
        secrets = {webhooks.add(session, URL)[1] for _ in range(3)}

    assert len(secrets) == 3
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24


def test_a_database_error_does_not_tell_the_secret(db):
    with db.begin() as session:
        session.execute(text("ALTER TABLE webhooks DROP COLUMN label"))
        with pytest.raises(StatementError) as refused:
            webhooks.add(session, URL)
        session.rollback()

    assert "INSERT INTO webhooks" in str(refused.value)
    assert "whsec_" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [("state.suceeded", "state.succeeded"), ("checkpoints", "checkpoint"), ("", "there are state"), ("x\x00", "are")],
)
def test_an_unknown_event_is_refused_with_the_nearest_that_there_are(db, word, said):
    with db.begin() as session, pytest.raises(UnknownEvent, match=said):
        webhooks.add(session, URL, ["state", word])


def test_there_are_only_so_many_webhooks(db, monkeypatch):
    monkeypatch.setattr(webhooks, "MOST", 2)

    with db.begin() as session:
        webhooks.add(session, URL)
        webhooks.add(session, URL)
        with pytest.raises(TooManyWebhooks, match="There are 2 webhooks"):
            webhooks.add(session, URL)


def test_pages_of_webhooks_and_of_their_deliveries_go_from_the_newest_back(db, add, hook, take, succeed, NOON):
    hooks = [hook(now=NOON + i * SECOND) for i in range(3)]
    for i in range(5):
        add(now=NOON + i * SECOND)
    succeed(take(without=hooks[1:]))

    with db.read() as session:
        first = webhooks.page(session, limit=2)
        rest = webhooks.page(session, limit=2, after=first.items[-1].id)
        top = webhooks.deliveries(session, hooks[0], limit=3)
        bottom = webhooks.deliveries(session, hooks[0], limit=3, after=top.items[-1].id)
        delivered = webhooks.deliveries(session, hooks[0], state=DeliveryState.DELIVERED)
        nothing = webhooks.page(session, after="\x00")

    assert [row.id for row in first.items + rest.items] == hooks[::-1]
    assert (first.has_more, rest.has_more) == (True, False)
    times = [row.created_at for row in top.items + bottom.items]
    assert times == [NOON + i * SECOND for i in (4, 3, 2, 1, 0)]
    assert (top.has_more, bottom.has_more) == (True, False)
    assert [row.created_at for row in delivered.items] == [NOON]
    assert nothing.items == []


def test_what_was_delivered_or_given_up_can_be_sent_once_more_under_its_id(db, add, hook, take, succeed, log, NOON):
    webhook_id = hook()
    add()
    claim = take()

    with db.begin() as session:
        assert webhooks.redeliver(session, webhook_id, claim.id, now=NOON)[1] is False  # it is on its way
    succeed(claim)
    later = NOON + SECOND
    with db.begin() as session:
        row, changed = webhooks.redeliver(session, webhook_id, claim.id, now=later)

    assert changed
    assert (row.state, row.tries, row.delivered_at, row.last_status) == (DeliveryState.PENDING, 0, None, None)
    again = take(now=later)
    assert (again.id, again.event.seq, again.tries) == (claim.id, 1, 1)
    assert len(log(webhook_id)) == 1


def test_what_is_not_there_is_said_to_be_missing(db, add, hook, take):
    webhook_id, other = hook(), hook("noted")
    add()
    claim = take()

    for call in (webhooks.get, webhooks.enable, webhooks.remove, webhooks.deliveries):
        for unknown in ("hook_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing", "\x00"):
            with db.begin() as session, pytest.raises(WebhookNotFound):
                call(session, unknown)
    for unknown in ("dlv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing"):
        with db.begin() as session, pytest.raises(DeliveryNotFound):
            webhooks.redeliver(session, webhook_id, unknown)
    with db.begin() as session, pytest.raises(DeliveryNotFound):
        webhooks.redeliver(session, other, claim.id)


def test_a_webhook_takes_its_deliveries_with_it_and_a_job_too(db, add, claim, hook, take, succeed, log, NOON):
    one, two = hook(), hook()
    job_id = add()
    sending = take(without=[two])

    with db.begin() as session:
        webhooks.remove(session, one)
    assert not succeed(sending)
    with db.read() as session, pytest.raises(WebhookNotFound):
        webhooks.get(session, one)
    assert len(log(two)) == 1

    with db.begin() as session:
        requests.cancel(session, job_id, now=NOON)
        store.delete_job(session, job_id)
    assert log(two) == []
