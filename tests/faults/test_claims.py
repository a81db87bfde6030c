"""Many processes at one queue."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jobs.job import get_job
from jobs.log import events
from jobs.queue import submit
from jobs.states import State
from kd.spec import parse

ROOT = Path(__file__).parents[2]
PROCESSES = 8

CLAIMERS = """
import os
import sys
from datetime import timedelta
from jobs.database import engine
from jobs.queue import leases, recording
from jobs.states import State

engine.BUSY_SECONDS = 600  # how long one waits among many for SQLite's lock is the machine's affair

url, processes = sys.argv[1], int(sys.argv[2])
start, go = os.pipe()
name = next((f"w{number}" for number in range(processes) if os.fork() == 0), None)
if name is None:  # the parent starts them all at once, by closing the pipe
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(processes)]
    sys.exit(max(codes))

db = engine.Sessions(engine.connect(url))
with db.read() as session:
    session.connection()
os.close(go)
os.read(start, 1)
while True:
    with db.begin() as session:
        claim = leases.claim(session, worker=name, ttl=timedelta(seconds=600))
    if claim is None:
        break
    os.write(1, f"{name} {claim.job_id} {claim.attempt}\\n".encode())
    with db.begin() as session:
        recording.record(session, claim, events=[{"type": "noted", "data": {"by": name}}], metrics=[("loss", 1, 0.5)])
    with db.begin() as session:
        if claim.attempt == 1 and claim.job_id[-1] in "02468":  # some are given back, and claimed again
            leases.requeue(session, claim, keep_stall=False, max_stalls=3)
        else:
            leases.release(session, claim, State.SUCCEEDED)
"""


@pytest.mark.parametrize("jobs", [60, pytest.param(1_000, marks=pytest.mark.slow)])
def test_eight_processes_at_one_queue_take_each_attempt_of_each_job_once(db, database_url, jobs):
    spec = parse({"mode": "train", "config": {}})
    with db.begin() as session:
        submitted = {submit.add_job(session, spec).id for _ in range(jobs)}

    claimers = subprocess.run(
        [sys.executable, "-c", CLAIMERS, database_url, str(PROCESSES)], cwd=ROOT, capture_output=True, text=True
    )

    assert (claimers.returncode, claimers.stderr) == (0, "")
    said = [tuple(line.split()) for line in claimers.stdout.splitlines()]
    attempts = Counter((job_id, attempt) for _, job_id, attempt in said)
    assert set(attempts.values()) == {1}
    again = {job_id for job_id in submitted if job_id[-1] in "02468"}
    assert set(attempts) == {(job_id, "1") for job_id in submitted} | {(job_id, "2") for job_id in again}
    assert len({worker for worker, _, _ in said}) > 1, "one process did it all: nothing was shown"
    with db.read() as session:
        for job_id in submitted:
            row, history = get_job(session, job_id), events.events_after(session, job_id, 0, 100)
            assert row.state is State.SUCCEEDED
            assert [event.seq for event in history] == list(range(1, row.events_seq + 1))
            assert [event.type for event in history].count("noted") == row.attempt
