"""A trainer that is only in the way saves where it stands: pause, drain and SIGTERM lose nothing, and say so."""

import threading

import pytest

from jobs import requests, store
from jobs.states import State
from worker.children import Trainers
from worker.supervisor import Worker, supervise

ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Saves by itself only at the end of a phase.
SELDOM = {"epochs": 60, "checkpoint_seconds": 3600}


def resumed_from(db, job_id: str) -> list[int]:
    """The step from which each attempt went on."""
    with db.read() as session:
        events = store.events_after(session, job_id, 0, 10_000)
    return [event.data["resumed_from_step"] for event in events if event.type == "started"]


def step_of(job) -> int:
    return (job.progress or {}).get("step", 0)


@pytest.fixture
def undisturbed(submit, wait_for, tiny):
    """The result of the same job when nobody disturbs it."""

    def undisturbed(mode: str) -> dict[str, float]:
        return wait_for(submit(tiny(mode, **SELDOM))).result["metrics"]

    return undisturbed


def is_the_same(result: dict, whole: dict[str, float]) -> bool:
    """Bit for bit, as far as it does not measure time."""
    names = [name for name in whole if ".test." in name or ".validation." in name]
    return bool(names) and all(result["metrics"][name] == whole[name] for name in names)


@ON_ONE_DATABASE
@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_paused_job_goes_on_from_where_it_stood_and_ends_as_if_nothing_had_been(
    worker, submit, wait_for, tiny, db, undisturbed, mode
):
    whole = undisturbed(mode)
    job_id = submit(tiny(mode, **SELDOM))
    before = wait_for(job_id, lambda job: job.phase == "student" and job.progress.get("epoch", 0) > 5)

    with db.begin() as session:
        requests.pause(session, job_id)
    paused = wait_for(job_id, lambda job: job.state is State.PAUSED)
    with db.begin() as session:
        requests.resume(session, job_id)
    job = wait_for(job_id)

    assert paused.checkpoint_step >= step_of(before), "what it had done when it was asked is saved"
    assert (paused.stalls, paused.lease_owner, paused.phase) == (0, None, None)
    assert resumed_from(db, job_id) == [0, paused.checkpoint_step]
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2), job.error
    assert is_the_same(job.result, whole)


def test_a_worker_that_is_to_leave_lets_its_trainer_save_first(settings, submit, wait_for, tiny, db):
    worker = Worker("leaving", db, settings, Trainers(keep_one_warm=False), threading.Event())
    job_id = submit(tiny(epochs=10_000, checkpoint_seconds=3600))
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    before = wait_for(job_id, lambda job: job.phase == "student" and job.progress.get("epoch", 0) > 5)

    worker.stopping.set()
    thread.join(timeout=30)

    job = wait_for(job_id, lambda job: job.state is State.QUEUED)
    assert job.checkpoint_step >= step_of(before)
    assert job.stalls == 0


@ON_ONE_DATABASE
def test_a_job_that_is_paused_while_labels_are_written_goes_on_with_those_it_has(
    worker, submit, wait_for, tiny, db, settings
):
    spec = tiny(teacher={"arch": "cnn", "epochs": 1}, augmentation={"strong": 2}, views=60, control=False)
    job_id = submit(spec)
    wait_for(job_id, lambda job: job.phase == "labelling")

    with db.begin() as session:
        requests.pause(session, job_id)
    wait_for(job_id, lambda job: job.state is State.PAUSED)
    counts = [int(file.read_text()) for file in (settings.data_dir / "labels").glob("*.count")]
    with db.begin() as session:
        requests.resume(session, job_id)
    job = wait_for(job_id)

    assert counts, "the labels so far are kept"
    assert counts[0] > 0
    assert job.state is State.SUCCEEDED, job.error


@ON_ONE_DATABASE
def test_a_pause_that_is_taken_back_in_time_or_too_late_leaves_the_job_to_be_run(worker, submit, wait_for, long, db):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase == "student")

    with db.begin() as session:
        requests.pause(session, job_id)
    with db.begin() as session:
        requests.resume(session, job_id)

    assert wait_for(job_id, lambda job: job.checkpoint_step > 40).state is State.RUNNING


# -- limits ------------------------------------------------------------------------------------------------------


@ON_ONE_DATABASE
def test_a_job_that_has_run_as_long_as_it_may_fails_and_keeps_what_it_has_saved(worker, submit, wait_for, tiny, db):
    limits = store.Limits(max_run_seconds=6)
    job = wait_for(submit(tiny(epochs=10_000, checkpoint_seconds=3600), limits=limits))

    assert (job.state, job.error["code"]) == (State.FAILED, "run_time_exceeded")
    assert "6 seconds" in job.error["message"]
    assert job.run_seconds >= 5
    with db.read() as session:
        saved = store.checkpoints(session, job.id)
    assert job.checkpoint_step > 0
    assert saved or job.phase is None


@ON_ONE_DATABASE
def test_a_trainer_that_falls_silent_is_ended_and_at_the_last_stall_the_job_fails(
    settings, submit, wait_for, long, db, trainers
):
    impatient = settings.model_copy(update={"max_stalls": 1})
    worker = Worker("impatient", db, impatient, Trainers(keep_one_warm=False), threading.Event())
    job_id = submit(long(), limits=store.Limits(max_stall_seconds=10))
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    # It must not have saved: a new checkpoint takes the stall back.
    wait_for(job_id, lambda job: job.phase == "teacher")
    (trainer,) = trainers()

    trainer.suspend()
    thread.join(timeout=60)

    job = wait_for(job_id, lambda job: job.state is not State.RUNNING)
    with db.read() as session:
        error = store.events_after(session, job_id, 0, 10_000)[-1].data["error"]
    assert error["code"] == "stalled"
    assert "10 seconds" in error["message"]
    assert job.state is (State.FAILED if job.checkpoint_step < 0 else State.QUEUED)
    assert not trainers()
