"""A job from queued to success, with real trainer processes, on both databases; what it leaves on the disk."""

import hashlib
import os
from pathlib import Path

import pytest

from jobs.files import find, layout, store
from jobs.job import get_job
from jobs.log.events import events_after
from jobs.queue import leases
from jobs.queue.leases import Spent
from jobs.states import State
from jobs.tables import Job
from tests.support import curves
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.trainers import FINISHED, MIDWAY
from tests.support.waiting import wait_until


def names_in(folder: Path) -> list[str]:
    """The names of all files below; what is deleted meanwhile is passed over."""
    return [name for _, _, names in os.walk(folder) for name in names]


@pytest.fixture
def ran_before(db, submit, tiny, TTL, mode) -> Job:
    """A job like the next one: a second for each phase, and one beside them. Ask for it before a worker, who is as
    fast as we are."""
    job_id, phases = submit(tiny(mode)), ("teacher", "labelling", "student", "control", "evaluating")
    result = {"metrics": {}, "seconds": dict.fromkeys(phases, 1.0), "best_checkpoint": None, "verdict": None}
    with db.begin() as session:
        claim = leases.claim(session, worker="nobody", ttl=TTL)
        leases.release(session, claim, State.SUCCEEDED, result=result, spent=Spent(len(phases) + 1.0))
    with db.read() as session:
        return get_job(session, job_id)


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_job_runs_to_a_student_whose_bytes_are_what_the_row_says(
    ran_before, stage, worker, submit, wait_for, tiny, db, settings, mode
):
    stage.close_gate(FINISHED)
    job_id = submit(tiny(mode))
    wait_for(job_id, lambda job: job.estimate is not None)  # it is found out beside the run
    stage.open_gate(FINISHED)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert (job.estimate["total_seconds"], job.estimate["jobs"]) == (ran_before.run_seconds, 1)
    assert job.result["metrics"]["student.test.top1"] > 0.5
    assert job.result["metrics"]["gain"] == pytest.approx(
        job.result["metrics"]["student.test.top1"] - job.result["metrics"]["control.test.top1"]
    )
    with db.read() as session:
        best = find.checkpoint(session, job.id, "best")
        student = best.student
        series = curves.series(session, job.id)
        assert [event.seq for event in events_after(session, job.id, 0, 10_000)] == list(range(1, job.events_seq + 1))
    path, size = store.open_file(settings.data_dir, student.path)
    assert best.id == job.result["best_checkpoint"]
    assert (size, hashlib.sha256(path.read_bytes()).hexdigest()) == (student.size, student.sha256)
    assert {"teacher.loss", "student.validation.top1", "control.top1", "student.images_per_second"} <= set(series)

    # Of the resume states nothing is left.
    folder = layout.attempt_folder(settings.data_dir, job.id, 1)
    wait_until(lambda: "resume.pt" not in names_in(folder))  # deleted just after the commit
    assert 1 <= names_in(folder).count("student.safetensors") <= 2, "the best one and the last one"


@ON_ONE_DATABASE
def test_a_trainer_that_said_its_last_word_but_will_not_leave_does_not_hold_up_its_job(
    worker, submit, wait_for, tiny, tmp_path, monkeypatch
):
    # As a CUDA context that takes its time to be torn down: every trainer of this test leaves after ten seconds.
    slow = (
        "import os, sys, time\nleave = os._exit\n"
        "if 'worker.trainer' in sys.orig_argv: os._exit = lambda code: (time.sleep(10), leave(code))\n"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(slow)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    job = wait_for(submit(tiny()))

    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


@ON_ONE_DATABASE
def test_what_a_killed_trainer_wrote_but_never_published_is_gone_in_the_end(
    worker, submit, wait_for, tiny, settings, stage
):
    stage.close_gate(MIDWAY)
    job_id = submit(tiny())
    job = wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 20)
    folder = layout.attempt_folder(settings.data_dir, job_id, job.attempt)
    orphan = folder / "checkpoints" / "step-999999999" / "resume.pt"
    orphan.parent.mkdir()
    orphan.write_bytes(b"half a check")
    stage.open_gate(MIDWAY)

    wait_for(job_id)

    wait_until(lambda: not orphan.parent.exists())
