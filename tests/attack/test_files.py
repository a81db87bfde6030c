"""A process that is granted no more files in the middle of its work, and has some again later."""

import resource

import psutil
import pytest

from tests.attack.conftest import Attacked
from tests.support.deployed import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("whose", ["api", "worker", "trainer"])
def test_who_has_no_files_for_a_while_costs_no_job(attacked: Attacked, undisturbed: object, whose: str) -> None:
    attacked.crew(1)
    job_id = attacked.in_training()
    worker = attacked.worker_of(job_id)
    pid = {"api": attacked.api.pid, "worker": worker.pid, "trainer": worker.trainers()[0].pid}[whose]
    process = psutil.Process(pid)
    before = process.rlimit(resource.RLIMIT_NOFILE)

    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), before[1]))
    if whose == "trainer":  # it cannot save, and another one goes on
        attacked.wait_for(job_id, lambda job: job["attempt"] > 1, "is tried again")
    else:
        renewed = attacked.row(job_id).lease_expires_at
        wait_until(lambda: attacked.row(job_id).lease_expires_at != renewed, "the job goes on")
        process.rlimit(resource.RLIMIT_NOFILE, before)

    assert attacked.outcome(job_id) == undisturbed
    assert attacked.api.alive
    assert worker.alive
