"""Workers as their operators start them: real processes, killed, stopped, rung and left to poll."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from jobs.doorbell.celery import make_celery
from jobs.doorbell.notifier import Notifier
from jobs.log import events
from jobs.queue import rescue
from jobs.settings import Settings
from jobs.states import State
from jobs.workers import roster
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.trainers import MIDWAY
from tests.support.waiting import HANG_SECONDS, wait_until

LOOP = ["-m", "worker.loop"]
CELERY = ["-m", "celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "WARNING"]

# `worker.loop`, to which a SIGTERM comes at the worst moment: as it goes to sleep, holding the lock of the event that
# is to wake it. `wait` holds it for microseconds, at every poll.
LOOP_THAT_GETS_SIGTERM_WHILE_IT_HOLDS_THE_LOCK = """
import signal, sys, threading
from worker import loop


class Stopping(threading.Event):
    def wait(self, timeout=None):
        with self._cond:
            signal.raise_signal(signal.SIGTERM)
        return super().wait(timeout)


def make_worker(settings, make=loop.make_worker):
    worker = make(settings)
    worker.stopping = Stopping()
    return worker


loop.make_worker = make_worker
sys.exit(loop.main([]))
"""

# It finds the machine out of files as it connects to its broker for the first time, and for the second.
CELERY_THAT_NEVER_POLLS = """
import errno
from celery.__main__ import main
from celery.worker.consumer import tasks
from worker import celery_app

connect, failures = tasks.Tasks.start, [errno.EMFILE, errno.ENFILE]


def start(step, consumer):
    if failures:
        raise OSError(failures.pop(), "Too many open files")
    connect(step, consumer)


tasks.Tasks.start = start
celery_app.POLL_SECONDS = 86_400.0
celery_app.RECONNECT_SECONDS = 0.01
main()
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Start a worker process; whatever is left of it goes with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], broker_url: str = "", **more: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "STILLHOUSE_DATA_DIR": str(settings.data_dir),
            "STILLHOUSE_DATABASE_URL": settings.url,
            "STILLHOUSE_BROKER_URL": broker_url,
            "STILLHOUSE_LEASE_SECONDS": "3600",
            "STILLHOUSE_HEARTBEAT_SECONDS": "0.3",
            "STILLHOUSE_STANDBY": "false",
            **more,
        }
        log = open(tmp_path / f"worker-{len(started)}.log", "wb")  # noqa: SIM115  # lives as long as the process
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow  # tests/faults has the same in a whole deployment
def test_a_job_outlives_the_worker_that_ran_it(start, submit, wait_for, tiny, db, stage):
    stage.close_gate(MIDWAY)
    first = start(LOOP)
    job_id = submit(tiny())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 30)

    first.kill()
    first.wait()
    stage.open_gate(MIDWAY)
    with db.begin() as session:
        rescue.rescue_expired(session, max_stalls=3, now=datetime.now(UTC) + timedelta(hours=2))
    start(LOOP)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert job.attempt == 2
    with db.read() as session:
        said = events.events_after(session, job_id, 0, 10_000)
    assert [event.data["resumed_from_step"] > 30 for event in said if event.type == "started"] == [False, True]
    assert [event.seq for event in said] == list(range(1, len(said) + 1))
    assert len([event for event in said if event.type == "finished"]) == 1


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("how", ["SIGTERM", "end of stdin"])
def test_a_worker_that_is_asked_to_end_gives_its_job_back_at_once(start, submit, wait_for, long, how):
    worker = start([*LOOP, "--lifeline"])
    job_id = submit(long())
    wait_for(job_id, lambda job: job.checkpoint_step > 0)

    if how == "SIGTERM":
        worker.send_signal(signal.SIGTERM)
    else:
        worker.stdin.close()
    code = worker.wait(HANG_SECONDS)

    assert code == 0
    job = wait_for(job_id, lambda job: job.state == State.QUEUED)
    assert (job.lease_owner, job.stalls) == (None, 0)


@SLOW_ON_POSTGRESQL
def test_a_worker_that_is_stopped_by_ctrl_z_looks_after_its_locks_first_and_goes_on(start, db, tmp_path):
    def is_there() -> bool:
        with db.read() as session:
            return bool(roster.all_now(session))

    worker = start(LOOP)
    wait_until(is_there)
    worker.send_signal(signal.SIGTSTP)
    wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    assert "suspending" in (tmp_path / "worker-0.log").read_text()

    worker.send_signal(signal.SIGCONT)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(HANG_SECONDS) == 0


@SLOW_ON_POSTGRESQL
def test_a_sigterm_that_comes_as_the_idle_worker_goes_to_sleep_ends_it(start):
    worker = start(["-c", LOOP_THAT_GETS_SIGTERM_WHILE_IT_HOLDS_THE_LOCK])

    assert worker.wait(HANG_SECONDS) == 0


@SLOW_ON_POSTGRESQL
def test_a_celery_worker_finds_a_job_that_nobody_rang_for_and_gives_it_back_on_sigterm(
    start, submit, wait_for, long, valkey_url
):
    job_id = submit(long())
    worker = start(CELERY, valkey_url)
    wait_for(job_id, lambda job: job.state == State.RUNNING)

    worker.send_signal(signal.SIGTERM)
    worker.wait(HANG_SECONDS)

    assert wait_for(job_id, lambda job: job.state == State.QUEUED).lease_owner is None


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("found_by", [pytest.param("the poll", marks=pytest.mark.slow), "the bell"])
def test_a_celery_worker_that_is_shut_down_by_remote_control_gives_its_job_back(
    start, submit, wait_for, long, valkey_url, found_by
):
    app, notifier = make_celery(valkey_url), Notifier(valkey_url)
    worker = start(CELERY, valkey_url)
    wait_until(app.control.ping)
    job_id, other = submit(long()), submit(long())
    if found_by == "the bell":  # which is heard long before the next poll
        notifier.job_queued(job_id)
    wait_for(job_id, lambda job: job.checkpoint_step > 0)

    app.control.shutdown()
    code = worker.wait(HANG_SECONDS)
    notifier.close()
    app.close()

    assert code == 0
    for queued in (job_id, other):
        job = wait_for(queued, lambda job: job.state == State.QUEUED)
        assert (job.lease_owner, job.stalls) == (None, 0)
    assert job.attempt == 0, "it took no other job meanwhile"


@SLOW_ON_POSTGRESQL
def test_a_job_that_is_rung_for_starts_before_anybody_polls_and_a_machine_out_of_files_ends_no_worker(
    start, submit, wait_for, long, valkey_url
):
    start(["-c", CELERY_THAT_NEVER_POLLS, *CELERY[2:]], valkey_url)
    job_id, notifier = submit(long()), Notifier(valkey_url)

    notifier.job_queued(job_id)

    wait_for(job_id, lambda job: job.state == State.RUNNING)
    notifier.close()


@ON_ONE_DATABASE
def test_a_celery_worker_without_a_broker_says_what_to_set(settings):
    answer = subprocess.run(
        [sys.executable, *CELERY],
        env=os.environ | {"STILLHOUSE_BROKER_URL": "", "STILLHOUSE_DATA_DIR": str(settings.data_dir)},
        capture_output=True,
        text=True,
    )

    assert answer.returncode != 0
    assert "Set STILLHOUSE_BROKER_URL" in answer.stderr
