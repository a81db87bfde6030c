"""Light work in the queue: a line of its own, which waits behind no distillation, nor makes one wait."""

from datetime import timedelta

import pytest

from jobs.job import get_job
from jobs.kinds import Kind
from jobs.queue import find, leases, place
from jobs.queue.find import Filter
from jobs.queue.submit import add_light_job
from jobs.states import State
from jobs.workers import roster
from kd.spec.ingest import Ingest, IngestSpec
from tests.support.offers import ENOUGH

MINUTE = timedelta(minutes=1)


@pytest.fixture
def add_ingest(db, NOON):
    def add_ingest(name: str = "packed/pets") -> str:
        spec = IngestSpec(config=Ingest(name=name, upload="upl_" + "ab" * 14))
        with db.begin() as session:
            return add_light_job(session, spec, now=NOON).id

    return add_ingest


def test_each_kind_is_claimed_for_itself_and_given_back_for_itself(db, add, add_ingest, job):
    distillation, ingest = add(), add_ingest()

    with db.begin() as session:
        light = leases.claim(session, worker="w1", ttl=MINUTE, kind=Kind.LIGHT)
        assert leases.claim(session, worker="w1", ttl=MINUTE, kind=Kind.LIGHT) is None
    with db.begin() as session:
        heavy = leases.claim(session, worker="w1", ttl=MINUTE)
        assert leases.claim(session, worker="w1", ttl=MINUTE) is None
    with db.begin() as session:  # the answer to the claim of one kind was lost: the other is in good hands
        given_back = leases.requeue_all_of(session, "w1", max_stalls=3, kind=Kind.LIGHT)

    assert (light.job_id, heavy.job_id, given_back) == (ingest, distillation, [ingest])
    assert (job(ingest).state, job(distillation).state) == (State.QUEUED, State.RUNNING)


def test_each_kind_has_its_own_line_and_keeps_no_worker_busy_for_the_other(db, add, add_ingest):
    first, ingest, second = add(), add_ingest(), add()
    with db.begin() as session:
        roster.beat(session, roster.Self("w1", "host", 7, "1.0", ENOUGH))
        leases.claim(session, worker="w1", ttl=MINUTE, kind=Kind.LIGHT)
    with db.read() as session:
        (worker,) = roster.all_now(session)
        waiting = place.waiting(session, [get_job(session, each) for each in (first, second)])

    assert (worker.status, worker.job_id) == (roster.Status.IDLE, None)
    assert [waiting[each].position for each in (first, second)] == [1, 2]
    with db.begin() as session:
        leases.requeue_all_of(session, "w1", max_stalls=3, kind=Kind.LIGHT)
        leases.claim(session, worker="w1", ttl=MINUTE)
        why = place.waiting(session, [get_job(session, each) for each in (ingest, second)])
    assert (why[ingest].position, why[ingest].reason) == (1, "starting")
    assert (why[second].position, why[second].reason) == (1, "workers_busy")


def test_light_work_waits_for_light_work_and_says_so(db, add_ingest):
    first, second = add_ingest(), add_ingest("packed/others")
    with db.begin() as session:
        roster.beat(session, roster.Self("w1", "host", 7, "1.0", ENOUGH))
        leases.claim(session, worker="w1", ttl=MINUTE, kind=Kind.LIGHT)
        busy = place.waiting(session, [get_job(session, second)])[second]
        roster.beat(session, roster.Self("w2", "host", 8, "1.0", ENOUGH))
        free = place.waiting(session, [get_job(session, second)])[second]

    assert (busy.position, busy.reason) == (1, "workers_busy")
    assert (free.position, free.reason) == (1, "starting")
    assert first != second


def test_who_looks_for_jobs_means_distillations_unless_he_asks_for_light_work(db, add, add_ingest):
    distillation, ingest = add(), add_ingest()

    with db.read() as session:
        found = {mode: [job.id for job in find.list_jobs(session, which=Filter(mode=mode)).items] for mode in MODES}

    assert found == {None: [distillation], "train": [distillation], "ingest": [ingest]}


MODES = (None, "train", "ingest")
