"""A worker whose disk is low says so, takes no job, and takes jobs again once there is room."""

import threading
from pathlib import Path

import pytest

from jobs.queue import place, submit
from jobs.settings import Settings
from jobs.workers import roster
from jobs.workers.needs import Offer
from kd.spec import parse
from worker.heartbeat import Heartbeat
from worker.reserve import Trainers
from worker.worker import Worker


@pytest.fixture
def worker(db, database_url: str, tmp_path: Path) -> Worker:
    low = Settings(data_dir=tmp_path / "data", database_url=database_url, min_free_bytes=10**18)
    offer = Offer(gpus=0, memory_bytes=10**9)
    return Worker("w1", db, low, Trainers(keep_one_warm=False), threading.Event(), offer)


def test_a_worker_with_a_low_disk_takes_no_job_before_its_first_heartbeat(worker):
    heartbeat = Heartbeat(worker)

    heartbeat.start()

    assert not worker.takes()
    heartbeat.close()


def test_a_low_disk_is_shown_with_the_worker_and_with_the_jobs_that_wait(db, worker):
    with db.begin() as session:
        job = submit.add_job(session, parse({"mode": "train", "config": {}}))

    Heartbeat(worker).beat()

    with db.read() as session:
        shown, waiting = roster.one_now(session, "w1"), place.waiting(session, [job])[job.id]
    assert shown.trouble is not None
    assert "STILLHOUSE_MIN_FREE_BYTES" in shown.trouble
    assert waiting.reason == "workers_in_trouble"
    assert shown.trouble in waiting.message


def test_a_worker_takes_jobs_again_when_there_is_room(db, worker):
    heartbeat = Heartbeat(worker)
    heartbeat.beat()
    assert not worker.takes()

    worker.settings = worker.settings.model_copy(update={"min_free_bytes": 1})
    heartbeat.beat()

    assert worker.takes()
    with db.read() as session:
        assert roster.one_now(session, "w1").trouble is None
