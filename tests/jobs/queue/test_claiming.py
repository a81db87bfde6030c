"""Who gets which job, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.endings import Code, Ending
from jobs.job import get_job
from jobs.queue import fence, leases, recording
from jobs.states import State

SECOND = timedelta(seconds=1)
CRASH = Ending(Code.CRASHED, "The trainer was ended by SIGSEGV.", "See the log.")


def test_the_highest_priority_goes_first_and_then_the_oldest(add, claim, NOON):
    late = add(now=NOON + 2 * SECOND)
    early = add(now=NOON + SECOND)
    urgent = add(now=NOON + 3 * SECOND, priority=10)
    whenever = add(now=NOON, priority=-10)

    claimed = [claim().job_id for _ in range(4)]

    assert claimed == [urgent, early, late, whenever]
    assert claim() is None


def test_jobs_of_the_same_moment_go_in_the_order_of_submission(add, claim):
    submitted = [add() for _ in range(5)]

    assert [claim().job_id for _ in range(5)] == submitted


def test_a_claim_says_who_works_on_what_and_until_when(add, claim, job, events, NOON, TTL):
    job_id = add()

    first = claim("w1")

    row = job(job_id)
    assert (first.job_id, first.attempt, first.worker) == (job_id, 1, "w1")
    assert (first.resume, first.checkpoint_step) == (None, -1)
    assert first.spec == row.resolved_spec
    assert first.spec["config"]["objective"]["temperature"] == 2  # defaults and all
    assert (row.state, row.lease_owner, row.attempt) == (State.RUNNING, "w1", 1)
    assert (row.lease_expires_at, row.started_at, row.updated_at) == (NOON + TTL, NOON, NOON)
    assert events(job_id) == [
        ("state", {"state": "queued"}),
        ("state", {"state": "running"}),
        ("claimed", {"worker": "w1", "checkpoint_step": -1}),
    ]


def test_a_second_attempt_keeps_the_time_of_the_first_start(add, claim, rescue, job, NOON, TTL):
    job_id = add()
    claim()
    rescue(NOON + 2 * TTL)

    second = claim(now=NOON + 3 * TTL)

    assert second.attempt == 2
    assert job(job_id).started_at == NOON


def test_without_a_time_given_the_clock_is_the_databases(db, add, TTL):
    add()
    before = datetime.now(UTC) - SECOND / 100

    with db.begin() as session:
        claim = leases.claim(session, worker="w1", ttl=TTL)
    after = datetime.now(UTC) + SECOND / 100
    with db.read() as session:
        row = get_job(session, claim.job_id)

    # The database runs on this machine here, so its clock must agree with ours (SQLite's counts milliseconds).
    assert before < row.started_at < after
    assert before < row.lease_expires_at - TTL < after
    assert row.lease_expires_at.tzinfo is UTC


def test_a_lease_is_renewed_from_the_moment_of_the_heartbeat(db, add, claim, job, rescue, NOON, TTL):
    job_id = add()
    held = claim()

    with db.begin() as session:
        assert leases.renew(session, held, ttl=TTL, now=NOON + 20 * SECOND) == leases.Requests(
            cancel=False, pause=False
        )

    assert job(job_id).lease_expires_at == NOON + 20 * SECOND + TTL
    assert job(job_id).updated_at == NOON, "a heartbeat is no change that anybody wants to see"
    assert rescue(NOON + TTL + SECOND) == []
    assert rescue(NOON + 20 * SECOND + TTL + SECOND) == [(job_id, State.QUEUED)]


@pytest.mark.parametrize("seconds", [29, 30])
def test_a_lease_is_safe_to_its_last_moment(add, claim, rescue, NOON, seconds):
    add()
    claim()

    assert rescue(NOON + seconds * SECOND) == []


def test_a_rescued_job_goes_back_to_the_queue_and_says_why(add, claim, rescue, job, events, NOON, TTL):
    job_id = add()
    claim()

    assert rescue(NOON + 2 * TTL) == [(job_id, State.QUEUED)]

    row = job(job_id)
    assert (row.state, row.lease_owner, row.lease_expires_at, row.phase) == (State.QUEUED, None, None, None)
    assert (row.stalls, row.error, row.finished_at) == (1, None, None)
    assert events(job_id)[-1] == ("state", {"state": "queued", "reason": "lease_expired"})
    assert rescue(NOON + 2 * TTL) == [], "a second rescuer finds nothing to do"


def test_three_attempts_in_a_row_without_a_checkpoint_fail_the_job(add, claim, rescue, job, events, NOON, TTL):
    job_id = add()
    outcomes = []

    for number in range(3):
        start = NOON + 10 * number * TTL
        claim(now=start)
        outcomes += rescue(start + 2 * TTL)

    row = job(job_id)
    assert [state for _, state in outcomes] == [State.QUEUED, State.QUEUED, State.FAILED]
    assert (row.error["code"], row.error["retryable"], row.stalls) == ("worker_lost", True, 3)
    assert row.finished_at == NOON + 22 * TTL
    assert events(job_id)[-1][1]["error"] == row.error
    assert claim() is None


def test_a_job_that_makes_checkpoints_may_lose_its_worker_for_ever(add, claim, rescue, publish, job, NOON, TTL):
    job_id = add()

    for number in range(6):
        start = NOON + 10 * number * TTL
        publish(claim(now=start), step=number)
        assert rescue(start + 2 * TTL) == [(job_id, State.QUEUED)]

    assert job(job_id).attempt == 6


def test_what_is_kept_without_a_checkpoint_is_progress_too_as_far_as_it_is_more_than_before(
    db, add, claim, rescue, job, NOON, TTL
):
    job_id = add()
    outcomes = []

    for number in range(9):
        start = NOON + 10 * number * TTL
        with db.begin() as session:
            recording.record(session, claim(now=start), safe_fraction=min(number, 5) / 10, now=start)
        outcomes += rescue(start + 2 * TTL)

    assert outcomes == [(job_id, State.QUEUED)] * 8 + [(job_id, State.FAILED)]
    assert job(job_id).checkpoint_step == -1


@pytest.mark.parametrize("further", [0, 1], ids=["the same checkpoint again", "a later one that says nothing new"])
def test_a_checkpoint_with_which_no_more_is_safe_is_no_progress(add, claim, rescue, publish, NOON, TTL, further):
    job_id = add()
    publish(claim(), step=7, fraction=0.5)
    outcomes = rescue(NOON + 2 * TTL)

    for number in (1, 2, 3):
        start = NOON + 10 * number * TTL
        publish(claim(now=start), step=7 + number * further, fraction=0.5)
        outcomes += rescue(start + 2 * TTL)

    assert outcomes == [(job_id, State.QUEUED)] * 3 + [(job_id, State.FAILED)]


def test_a_drained_worker_gives_the_stall_back(db, add, claim, job, events):
    job_id = add()

    for _ in range(5):
        with db.begin() as session:
            assert leases.requeue(session, claim_in(session), keep_stall=False, max_stalls=3) is State.QUEUED

    assert (job(job_id).stalls, job(job_id).attempt) == (0, 5)
    assert events(job_id)[-1] == ("state", {"state": "queued"})


def claim_in(session) -> fence.Claim:
    claim = leases.claim(session, worker="w1", ttl=timedelta(seconds=30))
    assert claim is not None
    return claim


def test_a_trainer_that_crashes_three_times_fails_the_job_with_its_last_words(db, add, claim, job, events):
    job_id = add()
    states = []

    for _ in range(3):
        with db.begin() as session:
            states.append(leases.requeue(session, claim_in(session), keep_stall=True, max_stalls=3, error=CRASH))

    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert job(job_id).error == CRASH.stored()
    told = [data.get("error") for type_, data in events(job_id) if type_ == "state" and data["state"] != "running"]
    assert told == [None, *3 * [CRASH.stored()]], "each crash is in the history"


def test_a_crash_without_words_gets_some(db, add, job, events):
    job_id = add()

    with db.begin() as session:
        assert leases.requeue(session, claim_in(session), keep_stall=True, max_stalls=1) is State.FAILED

    assert job(job_id).error["code"] == "crashed"
    assert events(job_id)[-1] == ("state", {"state": "failed", "error": job(job_id).error})


def test_a_job_is_queued_without_the_error_of_its_last_crash(db, add, job):
    job_id = add()

    with db.begin() as session:
        leases.requeue(session, claim_in(session), keep_stall=True, max_stalls=3, error=CRASH)

    assert job(job_id).error is None


def test_a_clock_that_is_set_back_leaves_no_job_with_a_dead_worker(add, claim, rescue, job, NOON, TTL):
    """The lease was given before, and would last for as long as the clock was wrong."""
    job_id = add()
    claim(now=NOON)

    assert rescue(NOON - timedelta(minutes=59)) == [], "so long a lease may be"
    assert rescue(NOON - timedelta(hours=1)) == [(job_id, State.QUEUED)]
    assert claim(now=NOON - timedelta(hours=1)).attempt == 2
