"""Senders at work side by side: killed, held up, or many of them, they send everything, in order and not twice."""

import threading
from datetime import datetime
from typing import Any

from api.webhooks.sender import AT_ONCE_TO_ONE, MANY, WebhookSender
from jobs.log.events import EVENTS
from jobs.queue import leases, recording, submit
from jobs.states import State
from jobs.webhooks import deliveries, fan_out
from jobs.webhooks.deliveries import LEASE
from kd.spec import parse
from tests.support.receiving import Receiver
from tests.support.waiting import wait_until


def test_a_sender_that_was_killed_is_followed_by_another_one(
    db: Any, sender: WebhookSender, receiver: Receiver, hook: Any, add: Any, log: Any, now: datetime
) -> None:
    webhook_id, _ = hook()
    add()
    with db.begin() as session:
        fan_out.fan_out(session)
        dead = deliveries.claim(session, now=now)

    sender.send_all_due(now)
    assert receiver.got == []
    sender.send_all_due(now + LEASE)

    assert [received.id for received in receiver.got] == [dead.id]
    assert [(row.state, row.tries) for row in log(webhook_id)] == [("delivered", 2)]


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
