"""Who is there to work, what each offers, and what a job that waits is told."""

from datetime import timedelta

import pytest

from jobs.database import clock
from jobs.envelope import Change, Limits
from jobs.errors import WorkerNotFound
from jobs.job import get_job
from jobs.queue import leases, place, requests, submit
from jobs.queue.rescue import expire_waiting
from jobs.states import State
from jobs.workers import roster
from jobs.workers.needs import Offer
from jobs.workers.roster import Self, Status
from kd.spec import parse

SECOND = timedelta(seconds=1)
SMALL, LARGE = Offer(gpus=0, memory_bytes=8 * 10**9), Offer(gpus=2, memory_bytes=64 * 10**9, gpu_names=("H100", "H100"))


@pytest.fixture
def beat(db, NOON):
    def beat(name: str = "w1", offer: Offer = SMALL, *, now=NOON, trouble: str | None = None) -> bool:
        with db.begin() as session:
            return roster.beat(session, Self(name, "host", 7, "1.0", offer), trouble=trouble, now=now)

    return beat


@pytest.fixture
def there(db, NOON):
    def there(now=NOON):
        with db.read() as session:
            return roster.all_now(session, now=now)

    return there


@pytest.fixture
def need(db, NOON):
    """A job that needs this of a machine."""

    def need(**resources: object) -> str:
        config = {"resources": resources, "batch_size": 256, "teacher": {"batch_size": 256}}
        with db.begin() as session:
            return submit.add_job(session, parse({"mode": "train", "config": config}), now=NOON).id

    return need


def test_a_worker_is_listed_with_what_it_offers_and_the_age_of_its_heartbeat(beat, there, NOON):
    beat(offer=LARGE)
    beat(offer=LARGE, now=NOON + 2 * SECOND)

    (worker,) = there(NOON + 5 * SECOND)

    assert (worker.name, worker.host, worker.pid, worker.version, worker.offer) == ("w1", "host", 7, "1.0", LARGE)
    assert (worker.started_at, worker.heartbeat_at) == (NOON, NOON + 2 * SECOND)
    assert worker.heartbeat_age_seconds == 3
    assert worker.status is Status.IDLE


def test_a_worker_with_a_job_is_busy_and_says_with_which(beat, there, add, claim):
    job_id = add()
    beat("w1")
    claim("w1")

    (worker,) = there()

    assert (worker.status, worker.job_id) == (Status.BUSY, job_id)


def test_a_silent_worker_is_lost_and_after_a_day_forgotten(db, beat, there, NOON):
    beat()
    assert [worker.status for worker in there(NOON + 16 * SECOND)] == [Status.LOST]

    with db.begin() as session:
        assert roster.forget_lost(session, now=NOON + timedelta(hours=23)) == 0
        assert roster.forget_lost(session, now=NOON + timedelta(hours=25)) == 1
    assert there() == []


def test_a_worker_that_ended_in_peace_is_no_longer_there(db, beat, there):
    beat()

    with db.begin() as session:
        roster.leave(session, "w1")

    assert there() == []


def test_a_worker_hears_that_it_is_to_drain_and_to_work_again(db, beat, there, add, claim, NOON):
    beat()
    add()
    claim("w1")

    with db.begin() as session:
        assert roster.request_drain(session, "w1", drain=True, now=NOON)
        assert not roster.request_drain(session, "w1", drain=True, now=NOON), "that was so before"
    assert beat()
    assert [worker.status for worker in there()] == [Status.DRAINING]
    with db.begin() as session:
        assert roster.request_drain(session, "w1", drain=False, now=NOON)
    assert not beat()
    assert [worker.status for worker in there()] == [Status.BUSY]


def test_a_worker_that_nobody_knows_cannot_be_drained(db):
    with pytest.raises(WorkerNotFound, match="nobody"), db.begin() as session:
        roster.request_drain(session, "nobody", drain=True)


# -- what suits whom ---------------------------------------------------------------------------------------------


def test_a_job_goes_only_to_a_worker_that_has_what_it_needs(db, need, add, NOON, TTL):
    two_gpus, much_memory, modest = need(gpus=2), need(memory_gb=32), add()

    def claimed(offer: Offer) -> list[str]:
        found = []
        with db.begin() as session:
            while claim := leases.claim(session, worker="w", ttl=TTL, offer=offer, now=NOON):
                found.append(claim.job_id)
        return found

    with db.read() as session:
        assert place.first(session, SMALL) == modest
        assert place.first(session, LARGE) == two_gpus
    assert claimed(SMALL) == [modest]
    assert claimed(LARGE) == [two_gpus, much_memory]


@pytest.mark.parametrize(
    ("resources", "needs"),
    [
        ({}, (0, 0)),
        ({"device": "cpu", "gpus": 2}, (0, 0)),
        ({"device": "cuda"}, (1, 0)),
        ({"gpus": 4, "memory_gb": 1.5}, (4, 1_500_000_000)),
    ],
)
def test_what_a_spec_asks_for_is_what_the_job_needs(need, job, resources, needs):
    row = job(need(**resources))

    assert (row.needs_gpus, row.needs_memory_bytes) == needs


# -- what those who wait are told --------------------------------------------------------------------------------


@pytest.fixture
def waiting(db):
    def waiting(*job_ids: str):
        with db.read() as session:
            return place.waiting(session, [get_job(session, job_id) for job_id in job_ids])

    return waiting


def test_places_in_the_queue_follow_priority_and_age(db, add, waiting, NOON):
    second, last, first = add(), add(priority=-1), add(priority=5)

    places = waiting(first, second, last)

    assert [places[job_id].position for job_id in (first, second, last)] == [1, 2, 3]

    with db.begin() as session:
        requests.change(session, last, Change(priority=7), now=NOON)
    assert waiting(last)[last].position == 1


def test_only_jobs_that_wait_have_a_place(add, claim, waiting):
    runs = add()
    claim()

    assert waiting(runs) == {}


@pytest.mark.parametrize(
    ("situation", "reason", "says"),
    [
        ("nobody", "no_worker", "kd work"),
        ("only lost ones", "no_worker", "kd work"),
        ("too small", "no_suitable_worker", "2 GPUs"),
        ("draining", "workers_draining", "drained"),
        ("in trouble", "workers_in_trouble", "the disk is full"),
        ("busy", "workers_busy", "0 ahead"),
        ("free", "starting", "in a moment"),
    ],
)
def test_a_job_that_waits_is_told_why(db, beat, need, claim, waiting, situation, reason, says):
    with db.read() as session:
        now = clock.read(session)
    if situation == "busy":
        need()
        claim("w1", now=now)
    job_id = need(gpus=2) if situation == "too small" else need()
    if situation == "only lost ones":
        beat(now=now - timedelta(hours=1))
    elif situation != "nobody":
        beat(now=now, trouble="the disk is full" if situation == "in trouble" else None)
    if situation == "draining":
        with db.begin() as session:
            roster.request_drain(session, "w1", drain=True)

    told = waiting(job_id)[job_id]

    assert (told.reason, told.position) == (reason, 1)
    assert says in told.message


# -- limits ------------------------------------------------------------------------------------------------------


def test_a_job_that_waited_too_long_for_its_first_start_fails(db, add, job, events, NOON):
    job_id = add(limits=Limits(max_queue_seconds=60))
    patient = add()

    with db.begin() as session:
        assert expire_waiting(session, now=NOON + 59 * SECOND) == []
        assert expire_waiting(session, now=NOON + 61 * SECOND) == [job_id]

    row = job(job_id)
    assert (row.state, row.error["code"], row.finished_at) == (
        State.FAILED, "queue_time_exceeded", NOON + 61 * SECOND,
    )  # fmt: skip
    assert events(job_id)[-1][1]["error"]["code"] == "queue_time_exceeded"
    assert job(patient).state is State.QUEUED


def test_a_job_that_has_started_once_may_wait_as_long_as_it_takes(db, add, claim, rescue, job, NOON, TTL):
    job_id = add(limits=Limits(max_queue_seconds=60))
    claim()
    rescue(NOON + 2 * TTL)

    with db.begin() as session:
        assert expire_waiting(session, now=NOON + timedelta(hours=1)) == []

    assert job(job_id).state is State.QUEUED


def test_the_time_of_all_attempts_adds_up(db, add, claim, rescue, NOON, TTL):
    add(limits=Limits(max_run_seconds=600, max_stall_seconds=30))
    held = claim()
    with db.begin() as session:
        leases.renew(session, held, ttl=TTL, spent=leases.Spent(12.5), now=NOON)
    rescue(NOON + 2 * TTL)

    again = claim(now=NOON + 2 * TTL)

    assert (again.run_seconds, again.max_run_seconds, again.max_stall_seconds) == (12.5, 600, 30)
