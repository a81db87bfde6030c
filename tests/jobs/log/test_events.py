"""A job's history: every event once, numbered without a gap, in the order in which it became true."""

import itertools
import threading
from datetime import timedelta

from jobs.endings import Code, Ending
from jobs.job import get_job
from jobs.log import events
from jobs.queue import fence, leases, recording, requests
from jobs.states import State


def test_events_are_numbered_from_one_without_a_gap(db, add, claim):
    job_id = add()
    held = claim()

    with db.begin() as session:
        recording.record(session, held, events=[{"type": "phase", "data": {"phase": "teacher"}}] * 3)
    with db.begin() as session:
        recording.record(session, held)
        recording.record(session, held, events=[{"type": "noted", "data": {"code": "x"}}])

    with db.read() as session:
        rows = events.events_after(session, job_id)
    assert [row.seq for row in rows] == list(range(1, 8))
    assert [row.type for row in rows] == ["state", "state", "claimed", "phase", "phase", "phase", "noted"]
    assert [row.attempt for row in rows] == [0, 1, 1, 1, 1, 1, 1]
    assert rows[-1].data == {"code": "x"}


def test_a_page_of_events_goes_on_where_the_last_one_ended(db, add, claim):
    job_id = add()
    with db.begin() as session:
        recording.record(session, claim_in(session), events=[{"type": "noted", "data": {"i": i}} for i in range(20)])

    with db.read() as session:
        seen = []
        while page := events.events_after(session, job_id, seen[-1] if seen else 0, limit=7):
            seen += [row.seq for row in page]

    assert seen == list(range(1, 24))


def claim_in(session) -> fence.Claim:
    claim = leases.claim(session, worker="w1", ttl=timedelta(seconds=30))
    assert claim is not None
    return claim


def test_a_transaction_that_fails_takes_its_numbers_with_it(db, add, claim):
    job_id = add()
    held = claim()

    try:
        with db.begin() as session:
            recording.record(session, held, events=[{"type": "noted", "data": {}}])
            raise RuntimeError("the worker stumbles")
    except RuntimeError:
        pass
    with db.begin() as session:
        leases.release(session, held, State.SUCCEEDED)

    with db.read() as session:
        assert [(row.seq, row.type) for row in events.events_after(session, job_id, 2)] == [
            (3, "claimed"),
            (4, "state"),
        ]


def test_writers_at_the_same_time_leave_no_gap_and_no_number_twice(db, add, claim):
    job_id = add()
    held = claim()
    start = threading.Barrier(5)

    def write(number: int) -> None:
        start.wait()
        for index in range(10):
            with db.begin() as session:
                recording.record(session, held, events=[{"type": "noted", "data": {"n": number, "i": index}}] * 2)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    start.wait()
    with db.begin() as session:
        requests.cancel(session, job_id)
    for writer in writers:
        writer.join()

    with db.read() as session:
        rows = events.events_after(session, job_id, 0, 1_000)
    assert [row.seq for row in rows] == list(range(1, 3 + 80 + 1 + 1))
    assert all(first.at <= second.at for first, second in itertools.pairwise(rows))
    for number in range(4):
        assert [row.data["i"] for row in rows if row.data.get("n") == number] == [i for i in range(10) for _ in "ab"]


def test_what_a_trainer_printed_can_always_be_stored(db, add, claim):
    job_id = add()
    held = claim()
    odd = {"message": "NUL \x00 half \ud83d", "loss": float("nan"), "up": float("inf"), "down": [float("-inf")]}

    with db.begin() as session:
        recording.record(session, held, events=[{"type": "noted", "data": odd}], progress=odd, latest_metrics=odd)
    with db.begin() as session:
        leases.release(session, held, State.FAILED, error=Ending(Code.DIVERGED, "\x00", "h"))

    with db.read() as session:
        told = events.events_after(session, job_id)[-2].data
        row = get_job(session, job_id)
    plain = {"message": "NUL � half �", "loss": "NaN", "up": "Infinity", "down": ["-Infinity"]}
    assert told == row.progress == row.latest_metrics == plain
    assert row.error["message"] == "�"
