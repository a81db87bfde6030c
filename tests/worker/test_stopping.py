"""A trainer that is only in the way saves where it stands: pause, drain and SIGTERM lose nothing, and say so."""

import os
import threading
from collections.abc import Iterator

import pytest

from jobs.envelope import Limits
from jobs.files import find
from jobs.job import get_job
from jobs.log.events import events_after
from jobs.queue import requests
from jobs.states import State
from kd.events import Finished, Ready, Saved
from kd.run import run
from kd.spec import parse
from tests.support.databases import ON_ONE_DATABASE
from tests.support.offers import ENOUGH
from tests.support.trainers import MADE_SAFE
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.attempt import supervise
from worker.child import Child, Order
from worker.lease import Lease
from worker.reserve import Trainers
from worker.worker import Worker

# Saves by itself only at the end of a phase.
SELDOM = {"teacher": {"arch": "mlp", "epochs": 1}, "epochs": 60, "control": False, "checkpoint_seconds": 3600}


def resumed_from(db, job_id: str) -> list[int]:
    """The step from which each attempt went on."""
    with db.read() as session:
        events = events_after(session, job_id, 0, 10_000)
    return [event.data["resumed_from_step"] for event in events if event.type == "started"]


def step_of(job) -> int:
    return (job.progress or {}).get("step", 0)


def is_the_same(metrics: dict[str, float], whole: dict[str, float]) -> bool:
    """Bit for bit, as far as it does not measure time."""
    names = [name for name in whole if ".test." in name or ".validation." in name]
    return bool(names) and all(metrics[name] == whole[name] for name in names)


@pytest.fixture
def warm() -> Iterator[Trainers]:
    """Trainers with one in reserve that has loaded torch: limits of a few seconds are for what comes then."""
    trainers = Trainers(keep_one_warm=True)
    trainers.warm_up()
    assert isinstance(trainers._reserve.next_event(HANG_SECONDS), Ready)
    yield trainers
    trainers.close()


@ON_ONE_DATABASE
@pytest.mark.parametrize("mode", ["train", pytest.param("guide", marks=pytest.mark.slow)])
def test_a_paused_job_goes_on_from_where_it_stood_and_ends_as_if_nothing_had_been(
    worker, submit, wait_for, tiny, db, tmp_path, mode
):
    *_, whole = run(tiny(mode, **SELDOM), tmp_path / "whole", data_folder=tmp_path / "whole")
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
    assert is_the_same(job.result["metrics"], whole.metrics)


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "also_its_trainer",
    [pytest.param(False, marks=pytest.mark.slow, id="the worker"), pytest.param(True, id="the whole service")],
)
def test_a_worker_that_is_to_leave_lets_its_trainer_save_first(
    settings, submit, wait_for, tiny, db, trainers, also_its_trainer
):
    worker = Worker("leaving", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    job_id = submit(tiny(**SELDOM | {"epochs": 10_000}))
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    before = wait_for(job_id, lambda job: job.phase == "student" and job.progress.get("epoch", 0) > 5)

    if also_its_trainer:  # systemd signals every process of a service
        trainers()[0].terminate()
    worker.stopping.set()
    thread.join(HANG_SECONDS)

    job = wait_for(job_id, lambda job: job.state is State.QUEUED)
    assert job.checkpoint_step >= step_of(before)
    assert job.stalls == 0


LABELLED = {"teacher": {"arch": "mlp", "epochs": 1}, "views": 8, "control": False, "epochs": 1}


@pytest.mark.slow  # `tests/kd/labels` shows the same of a run that is killed
@ON_ONE_DATABASE
def test_a_job_that_is_paused_while_labels_are_written_goes_on_with_those_it_has(
    worker, submit, wait_for, tiny, db, settings, stage, monkeypatch
):
    monkeypatch.setenv("LABELS_ARE_KEPT_EVERY_SECONDS", "0")
    stage.close_gate(MADE_SAFE)
    job_id = submit(tiny(**LABELLED))
    wait_until(stage.held, "its trainer has kept labels, and is about to say so")

    with db.begin() as session:
        requests.pause(session, job_id)
    for _ in range(3):  # the trainer is told before the beat that comes after the one that heard of it
        lease = wait_for(job_id, lambda job: True).lease_expires_at
        wait_for(job_id, lambda job, lease=lease: job.lease_expires_at != lease)
    stage.open_gate(MADE_SAFE)
    wait_for(job_id, lambda job: job.state is State.PAUSED)
    counts = [int(file.read_text().split()[0]) for file in (settings.data_dir / "labels").glob("*.count")]
    with db.begin() as session:
        requests.resume(session, job_id)
    job = wait_for(job_id)

    assert counts, "the labels so far are kept"
    assert counts[0] > 0
    assert job.state is State.SUCCEEDED, job.error


def test_a_run_that_is_to_save_while_it_labels_makes_safe_what_it_has(tmp_path, tiny):
    save_now, folders = threading.Event(), {"data_folder": tmp_path / "data", "label_folder": tmp_path / "labels"}

    for event in run(tiny(**LABELLED), tmp_path / "out", save_now=save_now, **folders):
        if event.event == "phase" and event.phase == "labelling":
            save_now.set()
        if event.event == "made_safe":
            break

    (count,) = [int(file.read_text().split()[0]) for file in (tmp_path / "labels").glob("*.count")]
    assert 0 < event.count == count < 8 * 1295


@ON_ONE_DATABASE
def test_a_pause_that_is_taken_back_in_time_or_too_late_leaves_the_job_to_be_run(worker, submit, wait_for, long, db):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase == "student")

    with db.begin() as session:
        requests.pause(session, job_id)
    with db.begin() as session:
        requests.resume(session, job_id)

    wait_for(job_id, lambda job: job.checkpoint_step > 40 and job.state is State.RUNNING)


# Those who guide, and what is said while they prepare a round: the moment at which the test asks to stop.
PREPARING = {
    "its labels": ({"epochs": 2, "views": 2}, lambda event: event.event == "phase" and event.facts.get("round") == 2),
    "a teacher that learns on": (
        {"epochs": 2, "views": 2, "teacher": "cotrain", "cotrain": {"epochs": 0.5}},
        lambda event: event.event == "step" and "cotrain_loss" in event.metrics,
    ),
}


@pytest.mark.parametrize(("rounds", "moment"), PREPARING.values(), ids=PREPARING)
def test_a_run_that_is_stopped_while_a_round_is_prepared_loses_none_of_the_rounds_before(tmp_path, rounds, moment):
    spec = parse(
        {
            "mode": "guide",
            "config": {
                "dataset": "digits",
                "teacher": {"arch": "mlp", "epochs": 2},
                "student": {"arch": "mlp"},
                "epochs": 6,
                "rounds": rounds,
                "control": False,
                "checkpoint_seconds": 3600,
            },
        }
    )
    folders = {"data_folder": tmp_path / "data"}
    whole = list(run(spec, tmp_path / "whole", **folders))

    stop, after = threading.Event(), []
    for event in run(spec, tmp_path / "stopped", save_now=stop, **folders):
        if stop.is_set():
            after.append(event)
            if isinstance(event, Saved):
                break
        elif moment(event):
            stop.set()
    saved = after[-1]
    resumed = list(run(spec, tmp_path / "resumed", resume=tmp_path / "stopped" / saved.resume.path, **folders))

    assert saved.phase == "student"
    assert not [event for event in after if event.event == "step" and event.phase == "student"], "at once"
    assert resumed[0].resumed_from_step == saved.step
    assert is_the_same(resumed[-1].metrics, whole[-1].metrics)


def test_a_request_to_stop_that_comes_when_all_is_trained_comes_too_late(tmp_path, tiny):
    names = {name: str(tmp_path / name) for name in ("out", "data_folder", "label_folder", "log")}
    child = Child()
    child.start(Order(spec=tiny(**SELDOM | {"epochs": 1}).model_dump(mode="json"), resume=None, **names))

    while getattr(event := child.next_event(HANG_SECONDS), "phase", None) != "evaluating":
        pass
    child.ask_to_stop()
    while (next_event := child.next_event(HANG_SECONDS)) is not None:
        event = next_event

    assert isinstance(event, Finished)
    child.kill_after(HANG_SECONDS)
    assert child.exit_code == 0


# -- limits ------------------------------------------------------------------------------------------------------


@ON_ONE_DATABASE
def test_a_job_that_has_run_as_long_as_it_may_fails_and_keeps_what_it_has_saved(
    settings, submit, wait_for, tiny, db, warm, monkeypatch
):
    rarely = settings.model_copy(update={"heartbeat_seconds": 2.0})
    job_id = submit(tiny(**SELDOM | {"epochs": 10_000}), limits=Limits(max_run_seconds=3_600))

    def an_hour_once_something_is_saved(lease: Lease) -> float:
        with db.read() as session:
            return 3_601.0 if get_job(session, job_id).checkpoint_step > 0 else 1.0

    monkeypatch.setattr(Lease, "ran_seconds", property(an_hour_once_something_is_saved))
    supervise(Worker("strict", db, rarely, warm, threading.Event(), ENOUGH))

    job = wait_for(job_id)
    assert (job.state, job.error["code"]) == (State.FAILED, "run_time_exceeded")
    assert "3600 seconds" in job.error["message"]
    assert job.run_seconds == 3_601, "exact, and not that of the last heartbeat"
    with db.read() as session:
        saved = find.checkpoints(session, job.id)
    assert job.checkpoint_step > 0
    assert saved or job.phase is None


@ON_ONE_DATABASE
@pytest.mark.parametrize("how", ["stopped", "in a read that never returns"])
def test_a_trainer_that_gets_no_further_is_ended_and_at_the_last_stall_the_job_fails(
    settings, submit, wait_for, long, db, warm, trainers, how
):
    impatient = settings.model_copy(update={"max_stalls": 1})
    shorter_than_users_may_ask_for = Limits.model_construct(max_stall_seconds=1)
    if how == "stopped":
        job_id = submit(long(), limits=shorter_than_users_may_ask_for)
        (trainer,) = trainers()
        trainer.suspend()
    else:  # all else of it lives
        job_id = submit(long(dataset="packed/hangs"), limits=shorter_than_users_may_ask_for)
        facts = settings.data_dir / "datasets" / "packed" / "hangs" / "facts.json"
        facts.parent.mkdir(parents=True)
        os.mkfifo(facts)

    supervise(Worker("impatient", db, impatient, warm, threading.Event(), ENOUGH))

    job = wait_for(job_id)
    assert (job.state, job.error["code"]) == (State.FAILED, "stalled")
    assert "1 seconds" in job.error["message"]
    assert not trainers()
