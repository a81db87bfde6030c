"""What was sent stays in the log for a while."""

import threading
from datetime import timedelta

from jobs.tables import DeliveryState
from jobs.webhooks import deliveries, subscriptions
from jobs.webhooks.deliveries import KEPT

SECOND = timedelta(seconds=1)


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
        subscriptions.redeliver(session, webhook_id, log(webhook_id)[0].id, now=NOON)
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
    monkeypatch.setattr(deliveries, "TOGETHER", 2)

    forgotten, kept = [], []
    for _ in range(3):
        with db.begin() as session:
            forgotten.append(deliveries.forget_old(session, now=NOON + timedelta(days=40)))
        kept.append([delivery.created_at for delivery in log(webhook)])

    assert forgotten == [2, 1, 0]
    assert kept == [[NOON + timedelta(days=2)], [], []]
