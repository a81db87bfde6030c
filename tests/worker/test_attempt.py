"""A job from queued to its end, with real trainer processes, on both databases."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.files import find, layout, store
from jobs.job import get_job
from jobs.log import curves
from jobs.log.events import events_after
from jobs.queue import leases, requests, rescue
from jobs.states import State
from jobs.tables import File, FileKind
from kd.events import Ready
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.offers import ENOUGH
from tests.support.trainers import READY
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.attempt import supervise
from worker.child import Child, Order
from worker.reserve import Trainers
from worker.worker import Worker


def trainers_of(pid: int) -> list[int]:
    """The trainer processes that the process `pid` has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent, state = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[1::-1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and state != "Z" and b"worker.trainer" in command:
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(") ", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def names_in(folder: Path) -> list[str]:
    """The names of all files below; what is deleted meanwhile is passed over."""
    return [name for _, _, names in os.walk(folder) for name in names]


def event_types(db, job_id: str) -> list[str]:
    with db.read() as session:
        return [event.type for event in events_after(session, job_id, 0, 10_000)]


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_job_runs_to_a_student_whose_bytes_are_what_the_row_says(worker, submit, wait_for, tiny, db, settings, mode):
    job = wait_for(submit(tiny(mode)))

    assert job.state == State.SUCCEEDED, job.error
    assert job.result["metrics"]["student.test.top1"] > 0.5
    assert job.result["metrics"]["gain"] == pytest.approx(
        job.result["metrics"]["student.test.top1"] - job.result["metrics"]["control.test.top1"]
    )
    with db.read() as session:
        best = find.checkpoint(session, job.id, "best")
        student = best.student
        series = curves.metric_series(session, job.id)
        assert [event.seq for event in events_after(session, job.id, 0, 10_000)] == list(range(1, job.events_seq + 1))
    path, size = store.open_file(settings.data_dir, student.path)
    assert best.id == job.result["best_checkpoint"]
    assert (size, hashlib.sha256(path.read_bytes()).hexdigest()) == (student.size, student.sha256)
    assert {"teacher.loss", "student.validation.top1", "control.top1", "student.images_per_second"} <= set(series)


@ON_ONE_DATABASE
def test_of_the_resume_states_nothing_is_left_after_success(worker, submit, wait_for, tiny, settings):
    job = wait_for(submit(tiny()))

    folder = layout.attempt_folder(settings.data_dir, job.id, 1)
    wait_until(lambda: "resume.pt" not in names_in(folder))  # deleted just after the commit
    assert 1 <= names_in(folder).count("student.safetensors") <= 2, "the best one and the last one"


@SLOW_ON_POSTGRESQL
def test_a_trainer_killed_in_mid_training_resumes_from_its_checkpoint_and_succeeds(
    worker, submit, wait_for, lasting, db
):
    whole = wait_for(submit(lasting()))
    job_id = submit(lasting())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)

    for pid in trainers_of(os.getpid()):
        os.kill(pid, signal.SIGKILL)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert job.attempt == 2
    with db.read() as session:
        started = [event for event in events_after(session, job_id, 0, 10_000) if event.type == "started"]
    assert started[1].data["resumed_from_step"] > 40
    for name in ("teacher.test.nll", "student.test.nll", "control.test.nll"):
        assert job.result["metrics"][name] == whole.result["metrics"][name], "bit-identical to the undisturbed run"


@SLOW_ON_POSTGRESQL
def test_a_truncated_checkpoint_is_passed_over_for_the_one_before_it(
    worker, submit, wait_for, lasting, settings, db, stage
):
    job_id = submit(lasting())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)
    (pid,) = trainers_of(os.getpid())
    stage.close_gate(READY)
    os.kill(pid, signal.SIGKILL)
    wait_for(job_id, lambda job: job.attempt == 2)  # so nothing newer comes from the first one
    with db.read() as session:
        resumes = select(File.path).where(File.job_id == job_id, File.kind == FileKind.RESUME)
        newest = settings.data_dir / max(session.scalars(resumes))

    os.truncate(newest, newest.stat().st_size // 2)
    stage.open_gate(READY)
    job = wait_for(job_id)

    assert job.state == State.SUCCEEDED, job.error
    assert job.attempt == 3, "the second attempt found the damage, the third went on from before it"
    with db.read() as session:
        started = [event for event in events_after(session, job_id, 0, 10_000) if event.type == "started"]
    assert started[-1].data["resumed_from_step"] > 0


@ON_ONE_DATABASE
def test_a_checkpoint_that_cannot_be_read_for_a_while_is_not_given_up(
    worker, submit, wait_for, lasting, settings, db, stage
):
    def events(kind):
        with db.read() as session:
            return [event for event in events_after(session, job_id, 0, 10_000) if event.type == kind]

    def errors():
        return [event.data["error"]["code"] for event in events("state") if event.data.get("error")]

    job_id = submit(lasting())
    wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 40)
    (pid,) = trainers_of(os.getpid())
    stage.close_gate(READY)
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


@ON_ONE_DATABASE
def test_a_trainer_that_said_its_last_word_but_will_not_leave_does_not_hold_up_its_job(
    worker, submit, wait_for, tiny, tmp_path, monkeypatch
):
    # As a CUDA context that takes its time to be torn down: every Python of this test leaves after ten seconds.
    slow = "import atexit, sys, time\nif 'worker.trainer' in sys.orig_argv: atexit.register(time.sleep, 10)\n"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(slow)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    job = wait_for(submit(tiny()))

    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


@ON_ONE_DATABASE
def test_what_a_killed_trainer_wrote_but_never_published_is_gone_in_the_end(
    worker, submit, wait_for, lasting, settings
):
    job_id = submit(lasting())
    job = wait_for(job_id, lambda job: job.phase == "student" and job.checkpoint_step > 20)
    folder = layout.attempt_folder(settings.data_dir, job_id, job.attempt)
    orphan = folder / "checkpoints" / "step-999999999" / "resume.pt"
    orphan.parent.mkdir()
    orphan.write_bytes(b"half a check")

    wait_for(job_id)

    wait_until(lambda: not orphan.parent.exists())


@ON_ONE_DATABASE
def test_a_full_disk_fails_the_job_with_the_reason_though_no_log_can_be_written(
    worker, submit, wait_for, tiny, settings
):
    job_id = submit(tiny(epochs=10_000))
    wait_for(job_id, lambda job: job.phase == "student")
    (pid,) = trainers_of(os.getpid())

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))  # from now on it can write no file: as bad as a full disk
    job = wait_for(job_id)

    assert job.state == State.FAILED
    assert job.error["code"] == "disk_full", job.error


@ON_ONE_DATABASE
def test_a_job_that_cannot_run_fails_at_once_with_the_reason_and_keeps_its_log(
    worker, submit, wait_for, tiny, settings
):
    wild = {"arch": "mlp", "epochs": 4, "optimizer": {"lr": 10, "momentum": 0.99, "weight_decay": 1}}

    job = wait_for(submit(tiny(teacher=wild)))

    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert job.error["code"] == "diverged"
    assert "learning rate of" in job.error["message"]
    assert "smaller learning rate" in job.error["hint"]
    log = layout.attempt_folder(settings.data_dir, job.id, 1) / "trainer.log"
    assert "Diverged" in log.read_text()


@ON_ONE_DATABASE
def test_a_job_that_needs_more_memory_than_there_is_fails_in_words_and_the_next_one_runs(
    worker, submit, wait_for, tiny
):
    # The first trainer gets 3 GB of address space: too little for a model of 645 million weights.
    hungry = submit(tiny(teacher={"arch": "torchvision/regnet_y_128gf", "epochs": 1}))
    modest = submit(tiny())
    wait_for(hungry, lambda job: job.state == State.RUNNING)
    (pid,) = trainers_of(os.getpid())
    resource.prlimit(pid, resource.RLIMIT_AS, (3 << 30, 3 << 30))

    job = wait_for(hungry)

    assert job.state == State.FAILED
    assert job.error["code"] == "out_of_memory", job.error
    assert "batch_size" in job.error["hint"]
    assert wait_for(modest).state == State.SUCCEEDED


@ON_ONE_DATABASE
def test_missing_data_fail_the_job_with_what_to_put_where(worker, submit, wait_for, tiny):
    job = wait_for(submit(tiny(dataset="cifar10", student={"arch": "resnet8"})))

    assert job.state == State.FAILED
    assert job.error["code"] == "bad_data"
    assert "cifar-10" in job.error["message"]


@SLOW_ON_POSTGRESQL
def test_cancelling_a_running_job_ends_its_trainer(worker, submit, wait_for, long, db):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase == "student")
    (pid,) = trainers_of(os.getpid())

    with db.begin() as session:
        requests.cancel(session, job_id)
    job = wait_for(job_id, lambda job: job.state == State.CANCELLED)

    assert not alive(pid)
    assert job.error is None


def test_a_job_cancelled_while_it_waits_never_starts(settings, submit, db):
    trainers = Trainers(keep_one_warm=False)
    worker = Worker("late", db, settings, trainers, threading.Event(), ENOUGH)
    from kd.spec import parse

    job_id = submit(parse({"mode": "train", "config": {}}))
    with db.begin() as session:
        requests.cancel(session, job_id)

    assert supervise(worker) is False
    assert "claimed" not in event_types(db, job_id)


@SLOW_ON_POSTGRESQL
def test_stopping_the_worker_gives_the_job_back_without_a_stall(settings, submit, wait_for, long, db):
    worker = Worker("draining", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    job_id = submit(long())
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    wait_for(job_id, lambda job: job.checkpoint_step > 20)
    with db.read() as session:
        stalls = get_job(session, job_id).stalls

    worker.stopping.set()
    thread.join(HANG_SECONDS)

    job = wait_for(job_id, lambda job: job.state == State.QUEUED)
    assert job.lease_owner is None
    assert job.stalls <= stalls
    assert not trainers_of(os.getpid())


@SLOW_ON_POSTGRESQL
def test_a_worker_whose_lease_was_taken_kills_its_trainer_and_writes_nothing_more(settings, submit, wait_for, long, db):
    worker = Worker("slow", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    job_id = submit(long())
    thread = threading.Thread(target=supervise, args=(worker,))
    thread.start()
    job = wait_for(job_id, lambda job: job.phase == "student")

    def rescued() -> bool:  # not while the worker writes: rescue passes by a row that is locked
        with db.begin() as session:
            return bool(rescue.rescue_expired(session, max_stalls=3, now=job.lease_expires_at + timedelta(hours=1)))

    wait_until(rescued)
    with db.begin() as session:
        assert leases.claim(session, worker="other", ttl=timedelta(seconds=60)) is not None
    thread.join(HANG_SECONDS)

    assert not thread.is_alive()
    assert not trainers_of(os.getpid())
    with db.read() as session:
        assert all(event.attempt == 2 for event in events_after(session, job_id, 0, 10_000)[-2:])
        assert get_job(session, job_id).lease_owner == "other"


def test_a_warm_trainer_is_taken_and_a_dead_one_is_not():
    trainers = Trainers(keep_one_warm=True)
    trainers.warm_up()
    assert isinstance(trainers._reserve.next_event(60), Ready)
    warm = trainers._reserve.pid
    taken = trainers.take()
    trainers.warm_up()
    os.killpg(trainers._reserve.pid, signal.SIGKILL)
    wait_until(lambda: not trainers._reserve.alive)
    fresh = trainers.take()

    assert taken.pid == warm
    assert fresh.alive
    for child in (taken, fresh):
        child.kill()


PARENT = """
import sys, time
from worker.child import Child, Order
child = Child()
child.start(Order({spec!r}, {out!r}, None, {data!r}, {labels!r}, {log!r}))
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_trainer_dies_with_the_worker_that_started_it(tmp_path, long):
    names = {name: str(tmp_path / name) for name in ("out", "data", "labels", "log")}
    code = PARENT.format(spec=long().model_dump(mode="json"), **names)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    wait_until(lambda: (tmp_path / "out").exists())

    parent.kill()
    parent.wait()

    wait_until(lambda: not alive(child))


def test_what_a_trainer_prints_goes_to_its_log_and_not_among_the_events(tmp_path, tiny):
    child = Child()
    names = {name: str(tmp_path / name) for name in ("out", "data_folder", "label_folder", "log")}

    child.start(Order(spec={"mode": "nonsense"}, resume=None, **names))
    ready, failed = child.next_event(HANG_SECONDS), child.next_event(HANG_SECONDS)

    assert isinstance(ready, Ready)
    assert failed.code == "bad_spec"
    assert child.next_event(HANG_SECONDS) is None
    child.kill_after(HANG_SECONDS)
    assert child.exit_code == 1
    assert "Traceback" in (tmp_path / "log").read_text()
