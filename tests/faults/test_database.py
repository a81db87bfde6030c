"""The database goes away in the middle of a job: PostgreSQL is killed, SQLite is locked."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.deployed import wait_until

# The worker fences itself after 0.7 of it: the rest is what a busy machine may take to do so.
LEASE_SECONDS = "12"


def test_a_database_that_is_back_before_the_lease_lapses_is_hardly_noticed(place):
    job_id = place.in_training()

    with place.on.without_database():
        time.sleep(0.5)  # of training, with nobody to tell of it

    job = place.assert_as_undisturbed(job_id, resumed=False)
    assert job["attempt"] == 1


@pytest.mark.slow
def test_a_database_away_for_longer_finds_the_trainer_dead_before_the_lease_lapsed(place):
    place.on.crew(0)
    place.on.add_worker(STILLHOUSE_LEASE_SECONDS=LEASE_SECONDS)
    job_id = place.in_training()
    trainers = place.on.worker_of(job_id).trainers()
    for trainer in trainers:
        trainer.suspend()  # so that it does not end by itself

    lapses = place.on.row(job_id).lease_expires_at  # or later, if it is renewed once more
    with place.on.without_database():
        # Nobody else can have claimed the job meanwhile: there is no database to claim it from.
        place.wait_until_dead(trainers, time.monotonic(), "database away -> trainer gone")
        dead = datetime.now(UTC)  # its clock is the database's
        wait_until(lambda: datetime.now(UTC) > lapses + timedelta(seconds=1), "the lease has lapsed")
    back = time.monotonic()
    place.on.wait_for(job_id, lambda job: job["attempt"] > 1, "is claimed again")
    place.measured("database back -> claimed again", back)
    place.assert_as_undisturbed(job_id)

    assert dead < lapses
