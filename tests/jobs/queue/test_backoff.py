"""Who crashes without progress is not tried again at once, and says when."""

from datetime import timedelta

import pytest

from jobs.database import clock
from jobs.endings import Code, Ending
from jobs.job import get_job
from jobs.queue import leases, place, requests
from jobs.states import State
from jobs.workers import roster
from jobs.workers.roster import Self
from tests.support.offers import ENOUGH

SECOND = timedelta(seconds=1)
CRASH = Ending(Code.CRASHED, "The trainer was ended by SIGSEGV.", "See the log.")


@pytest.fixture
def crash(db, NOON):
    """Its worker puts the job back; a crash unless told otherwise."""

    def crash(claim, *, now=NOON, keep_stall=True, max_stalls=100, first_pause=5 * SECOND) -> State:
        with db.begin() as session:
            return leases.requeue(
                session,
                claim,
                keep_stall=keep_stall,
                max_stalls=max_stalls,
                first_pause=first_pause,
                error=CRASH if keep_stall else None,
                now=now,
            )

    return crash


def test_each_crash_in_a_row_makes_the_next_attempt_wait_longer(add, claim, crash, job, events, NOON):
    job_id, at, pauses = add(), NOON, []

    for _ in range(6):
        assert crash(claim(now=at), now=at) is State.QUEUED
        pause = job(job_id).retry_at - at
        assert claim(now=at + pause - SECOND) is None, "it was to wait"
        pauses.append(pause / SECOND)
        at += pause

    assert pauses == [5, 30, 180, 600, 600, 600]
    told = [data["retry_at"] for kind, data in events(job_id) if "error" in data]
    assert told[:2] == ["2026-01-15T12:00:05Z", "2026-01-15T12:00:35Z"]
    claim(now=at)
    assert job(job_id).retry_at is None, "one that runs waits for nothing"


def test_others_go_first_meanwhile_and_it_takes_its_turn_again_afterwards(db, add, claim, crash, NOON):
    first, second, third = add(), add(now=NOON + SECOND), add(now=NOON + 2 * SECOND)
    crash(claim(now=NOON), now=NOON)

    assert claim(now=NOON + 4 * SECOND).job_id == second
    assert claim(now=NOON + 5 * SECOND).job_id == first
    assert claim(now=NOON + 5 * SECOND).job_id == third


@pytest.mark.parametrize("why", ["it got further", "its worker drains", "its worker fell silent", "0 is no pause"])
def test_nobody_waits_who_did_not_crash_for_nothing(add, claim, crash, publish, rescue, job, NOON, TTL, why):
    job_id, now = add(), NOON
    held = claim()
    if why == "it got further":
        publish(held, step=7)
        crash(held)
    elif why == "its worker drains":
        crash(held, keep_stall=False)
    elif why == "its worker fell silent":  # its lease was a pause
        now += 2 * TTL
        rescue(now)
    else:
        crash(held, first_pause=timedelta(0))

    assert job(job_id).retry_at is None
    assert claim(now=now).attempt == 2


def test_the_last_crash_and_one_of_a_job_that_is_to_be_paused_or_cancelled_wait_for_nothing(
    db, add, claim, crash, job, events, NOON
):
    for asked, state in [(None, State.FAILED), (requests.pause, State.PAUSED), (requests.cancel, State.CANCELLED)]:
        job_id = add()
        held = claim()
        if asked is not None:
            with db.begin() as session:
                asked(session, job_id, NOON)

        assert crash(held, max_stalls=1 if asked is None else 3) is state

        assert job(job_id).retry_at is None
        assert "retry_at" not in events(job_id)[-1][1]


def test_who_pauses_and_resumes_it_has_it_tried_again_at_once(db, add, claim, crash, NOON):
    job_id = add()
    crash(claim())

    with db.begin() as session:
        requests.pause(session, job_id, NOON)
        requests.resume(session, job_id, NOON)

    assert claim().attempt == 2


def test_a_clock_that_is_set_back_holds_up_no_job(add, claim, crash, NOON):
    add()
    crash(claim())

    assert claim(now=NOON - timedelta(minutes=9)) is None
    assert claim(now=NOON - timedelta(hours=1)).attempt == 2


def test_nobody_is_rung_for_it_and_it_stands_in_no_line_but_says_when_it_is_tried_again(db, add, claim, crash, NOON):
    with db.begin() as session:
        now = clock.read(session)
        roster.beat(session, Self("w1", "host", 7, "1.0", ENOUGH), now=now)
    job_id, other = add(), None
    crash(claim(now=now), now=now, first_pause=timedelta(minutes=10))

    with db.read() as session:
        assert place.first(session) is None
        assert place.first(session, ENOUGH) is None
        told = place.waiting(session, [get_job(session, job_id)])[job_id]
    assert (told.position, told.reason, told.retry_at) == (None, "backing_off", now + timedelta(minutes=10))
    assert (
        told.message == f"Its last attempt crashed without progress; it is tried again at {told.retry_at:%H:%M:%S} UTC."
    )

    other = add()
    with db.read() as session:
        places = place.waiting(session, [get_job(session, id) for id in (job_id, other)])
    assert (places[other].position, places[other].reason) == (1, "starting")
