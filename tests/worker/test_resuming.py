"""After a trainer's death the next attempt goes on from the newest whole checkpoint; not for ever, if in vain."""

import os
import signal

import pytest
from sqlalchemy import select

from jobs.log.events import events_after
from jobs.states import State
from jobs.tables import File, FileKind
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.trainers import FINISHED, MIDWAY, READY, alive, trainers_of
from tests.support.waiting import wait_until


@pytest.mark.slow  # tests/faults has the same in a whole deployment
def test_a_trainer_killed_in_mid_training_resumes_from_its_checkpoint_and_succeeds(
    worker, submit, wait_for, tiny, db, stage
):
    whole = wait_for(submit(tiny()))
    stage.close_gate(MIDWAY)
    job_id = submit(tiny())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)

    for pid in trainers_of(os.getpid()):
        os.kill(pid, signal.SIGKILL)
    stage.open_gate(MIDWAY)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert job.attempt == 2
    with db.read() as session:
        started = [event for event in events_after(session, job_id, 0, 10_000) if event.type == "started"]
    assert started[1].data["resumed_from_step"] > 40
    for name in ("teacher.test.nll", "student.test.nll", "control.test.nll"):
        assert job.result["metrics"][name] == whole.result["metrics"][name], "bit-identical to the undisturbed run"


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [pytest.param(truncate, marks=pytest.mark.slow), flip_a_bit])
@SLOW_ON_POSTGRESQL
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(
    worker, submit, wait_for, tiny, settings, db, stage, damage
):
    stage.close_gate(MIDWAY)
    job_id = submit(tiny())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)
    (pid,) = trainers_of(os.getpid())
    stage.close_gate(READY)
    stage.open_gate(MIDWAY)
    os.kill(pid, signal.SIGKILL)
    wait_for(job_id, lambda job: job.attempt == 2)  # so nothing newer comes from the first one
    with db.read() as session:
        resumes = select(File.path).where(File.job_id == job_id, File.kind == FileKind.RESUME)
        newest = settings.data_dir / max(session.scalars(resumes))

    damage(newest)
    stage.open_gate(READY)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert job.attempt == 3, "the second attempt found the damage, the third went on from before it"
    with db.read() as session:
        started = [event for event in events_after(session, job_id, 0, 10_000) if event.type == "started"]
    assert started[-1].data["resumed_from_step"] > 0


@pytest.mark.slow  # `tests/kd/runs` tells it apart from a damaged one
@ON_ONE_DATABASE
def test_a_checkpoint_that_cannot_be_read_for_a_while_is_not_given_up(
    worker, submit, wait_for, tiny, settings, db, stage
):
    def events(kind):
        with db.read() as session:
            return [event for event in events_after(session, job_id, 0, 10_000) if event.type == kind]

    def errors():
        return [event.data["error"]["code"] for event in events("state") if event.data.get("error")]

    stage.close_gate(MIDWAY)
    job_id = submit(tiny())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)
    (pid,) = trainers_of(os.getpid())
    stage.close_gate(READY)
    stage.open_gate(MIDWAY)
    os.kill(pid, signal.SIGKILL)
    saved = wait_for(job_id, lambda job: job.attempt == 2).checkpoint_step
    attempt = settings.data_dir / "jobs" / job_id / "attempt-1"

    attempt.rename(attempt.with_name("elsewhere"))
    (second,) = wait_until(stage.held)
    stage.let_pass(second)
    wait_for(job_id, lambda job: "unfit_checkpoint" in errors())
    attempt.with_name("elsewhere").rename(attempt)
    stage.open_gate(READY)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert events("started")[-1].data["resumed_from_step"] == saved


@SLOW_ON_POSTGRESQL
def test_a_job_whose_trainer_dies_at_every_attempt_fails_after_three_and_the_next_job_runs(
    worker, submit, wait_for, long, tiny
):
    # Nothing is checkpointed, so each death is a stall.
    poison = submit(
        long(checkpoint_seconds=86_400, teacher={"arch": "cnn_small", "epochs": 10_000, "patience": 10_000})
    )
    healthy = submit(tiny())
    seen: set[int] = set()
    while len(seen) < 3:
        wait_for(poison, lambda job: job.phase == "teacher" and job.attempt == len(seen) + 1)
        (pid,) = trainers_of(os.getpid())
        seen.add(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid))

    job = wait_for(poison)

    assert (job.state, job.attempt) == (State.FAILED, 3)
    assert job.error["code"] in {"killed", "crashed"}
    assert job.error["hint"]
    assert wait_for(healthy).state == State.SUCCEEDED


@pytest.mark.slow  # as is shown above of one that dies at once
@ON_ONE_DATABASE
def test_a_trainer_that_dies_at_the_end_of_every_attempt_is_not_tried_for_ever(
    worker, submit, wait_for, tiny, stage, db
):
    """Its last checkpoint is whole each time, and says nothing new."""
    stage.close_gate(FINISHED)
    job_id = submit(tiny())
    ends: set[int] = set()
    while len(ends) < 4:
        wait_until(lambda: set(stage.held()) - ends, "a trainer is at its end")
        (pid,) = set(stage.held()) - ends
        ends.add(pid)
        os.kill(pid, signal.SIGKILL)

    job = wait_for(job_id)

    assert (job.state, job.attempt, job.safe_fraction) == (State.FAILED, 4, 1)
    with db.read() as session:
        told = [event for event in events_after(session, job_id, 0, 10_000) if event.type == "evaluated"]
    of_test = [event for event in told if event.data["split"] == "test"]
    assert len(of_test) == 3, "teacher, student and control, once: the test split is not read again"
