"""A second job under the first one's teacher, through the whole worker."""

import hashlib
import io
import threading
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from jobs import tables as module
from jobs.files import find, layout, retention, store
from jobs.files.store import Stored
from jobs.job import get_job
from jobs.log import events
from jobs.queue import fence, leases, recording
from jobs.queue.submit import add_job
from jobs.states import State
from jobs.tables import File, Job
from kd.models.preprocess.said import Preprocess
from kd.teachers import uploads
from tests.support import curves
from tests.support.claiming import claim_job
from tests.support.databases import ON_ONE_DATABASE, SLOW_ON_POSTGRESQL
from tests.support.models.onnx_files import linear
from tests.support.offers import ENOUGH
from worker.attempt import supervise
from worker.reserve import Trainers
from worker.worker import Worker

WEIGHTS = b"weights"


def notes(db, job_id: str) -> set[str]:
    with db.read() as session:
        found = events.events_after(session, job_id, 0, 10_000)
    return {event.data["code"] for event in found if event.type == "noted"}


@pytest.fixture
def finished_teacher(tiny, submit, db, TTL, settings):
    """A job whose teacher is published, as far as rows and files can tell."""
    with db.begin() as session:
        job = add_job(session, tiny())
        claim = claim_job(session, job.id, worker="w1", ttl=TTL)
    path = layout.attempt_folder(settings.data_dir, job.id, 1) / "teacher.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    with db.begin() as session:
        name = path.relative_to(settings.data_dir).as_posix()
        file = retention.NewFile(
            module.FileKind.ARTIFACT, path.name, name, size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest()
        )
        recording.publish_file(session, claim, file)
        leases.release(session, claim, State.SUCCEEDED, result={})
    return job.id, path


@ON_ONE_DATABASE
def test_a_second_student_under_the_same_teacher_trains_no_teacher_and_labels_nothing(
    worker, submit, wait_for, tiny, db
):
    """Nor is it born anew: it begins from what that teacher has learnt."""
    first = wait_for(submit(tiny(epochs=2, control=False)))
    begins = {"arch": "cnn_small", "start": {"job": first.id, "role": "teacher", "frozen": ["0"]}}
    second = wait_for(submit(tiny(teacher={"job": first.id}, epochs=2, student=begins)))

    assert [job.state for job in (first, second)] == [State.SUCCEEDED] * 2, second.error
    told = {"teacher_brought", "labels_reused", "begins_from"}
    assert [told & notes(db, job.id) for job in (first, second)] == [set(), told]
    assert second.result["metrics"]["teacher.test.top1"] == first.result["metrics"]["teacher.test.top1"]
    with db.read() as session:
        assert not {"teacher.loss", "labelling.images_per_second"} & set(curves.series(session, second.id))
        assert "teacher.safetensors" in [file.name for file in find.artifacts(session, second.id)], "to be passed on"


@ON_ONE_DATABASE
def test_a_teacher_that_was_brought_as_onnx_teaches_through_the_whole_worker(
    worker, submit, wait_for, tiny, db, settings
):
    folder = settings.data_dir / layout.TEACHERS
    said = uploads.Said(name="mine", preprocess=Preprocess())
    there, _ = uploads.add(folder, io.BytesIO(linear().SerializeToString()), said)

    done = wait_for(submit(tiny(teacher={"upload": there.id}, epochs=1, control=False)))

    assert done.state is State.SUCCEEDED, done.error
    assert done.result["metrics"]["teacher.parameters"] == 640
    with db.read() as session:
        assert "teacher.safetensors" in [file.name for file in find.artifacts(session, done.id)], "to be passed on"


@pytest.mark.parametrize("gone", ["job", "file"])
def test_a_job_whose_teacher_is_gone_fails_before_a_trainer_starts(settings, submit, tiny, db, finished_teacher, gone):
    teacher, path = finished_teacher
    job_id = submit(tiny(teacher={"job": teacher}))
    if gone == "job":
        with db.begin() as session:
            session.execute(delete(Job).where(Job.id == teacher))
    else:
        path.unlink()

    assert supervise(Worker("w2", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)) is True

    with db.read() as session:
        job = get_job(session, job_id)
    assert job.state == State.FAILED
    assert (job.error["code"], job.error["retryable"]) == ("bad_teacher", False)
    assert (
        job.error["message"] == f"Job {teacher} no longer has the weights of its teacher, which this job was to have."
    )
    assert not layout.attempt_folder(settings.data_dir, job_id, 1).exists()


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("when", ["before it is held", "after"])
def test_a_teacher_that_its_own_job_writes_anew_is_there_all_the_same(
    settings, submit, tiny, db, finished_teacher, monkeypatch, when
):
    """Its job has gone on after a restart, and gives up the file that the borrower was told of."""
    teacher, path = finished_teacher
    job_id = submit(tiny(teacher={"job": teacher}))
    hold, times = store.link_teacher, iter(("before it is held", "after"))

    def write_anew() -> None:
        anew = path.parent.with_name("attempt-2") / path.name
        anew.parent.mkdir()
        path.rename(anew)
        with db.begin() as session:
            session.execute(update(File).values(path=anew.relative_to(settings.data_dir).as_posix()))

    def hold_meanwhile(*given) -> Path:
        if next(times, None) == when:
            write_anew()
        held = hold(*given)
        if next(times, None) == when:
            write_anew()
        return held

    monkeypatch.setattr(store, "link_teacher", hold_meanwhile)

    supervise(Worker("w2", db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH))

    with db.read() as session:
        job = get_job(session, job_id)
    assert "teacher.safetensors does not hold the weights of a model" in job.error["message"], "it was read"
    assert not list((settings.data_dir / "jobs" / job_id).glob("attempt-*/*.safetensors")), "it is held no longer"


@pytest.mark.slow  # `tests/attack` flips bits in every kind of file, in this one too
@ON_ONE_DATABASE
def test_a_teacher_of_which_one_bit_has_flipped_fails_the_job_in_words(worker, submit, wait_for, tiny, db, settings):
    first = wait_for(submit(tiny(epochs=1, control=False)))
    with db.read() as session:
        path = settings.data_dir / find.artifact(session, first.id, "teacher.safetensors").path
    content = bytearray(path.read_bytes())
    content[-100] ^= 1 << 6  # of a weight
    path.write_bytes(content)

    job = wait_for(submit(tiny(teacher={"job": first.id})))

    assert (job.state, job.error["code"]) == (State.FAILED, "bad_teacher")
    assert "its content has changed since it was written" in job.error["message"]


@ON_ONE_DATABASE
def test_a_teacher_that_cannot_be_read_fails_the_job_in_words(worker, submit, wait_for, tiny, finished_teacher):
    teacher, _ = finished_teacher

    job = wait_for(submit(tiny(teacher={"job": teacher})))

    assert (job.state, job.error["code"]) == (State.FAILED, "bad_teacher")
    assert "teacher.safetensors does not hold the weights of a model" in job.error["message"]
    assert job.attempt == 1


def test_a_claim_brings_the_teacher_and_after_the_first_attempt_the_jobs_own_copy(
    submit, tiny, db, TTL, finished_teacher
):
    teacher, _ = finished_teacher
    job_id = submit(tiny(teacher={"job": teacher}))
    plain = submit(tiny())

    def claim(of: str) -> fence.Claim:
        with db.begin() as session:
            return claim_job(session, of, worker="w1", ttl=TTL)

    first = claim(job_id)
    own = retention.NewFile(
        module.FileKind.ARTIFACT, "teacher.safetensors", f"jobs/{job_id}/attempt-1/teacher.safetensors", 7, "ab" * 32
    )
    with db.begin() as session:
        recording.publish_file(session, first, own)
        leases.requeue(session, first, keep_stall=False, max_stalls=3)
        session.execute(delete(Job).where(Job.id == teacher))
    again = claim(job_id)

    assert first.teachers["teacher"].path == f"jobs/{teacher}/attempt-1/teacher.safetensors"
    assert again.teachers["teacher"] == Stored(own.path, own.sha256)
    assert claim(plain).teachers == {}


@ON_ONE_DATABASE
def test_a_committee_of_a_lent_teacher_and_one_that_is_trained_in_the_job(worker, submit, wait_for, tiny, db):
    first = wait_for(submit(tiny(epochs=1, control=False)))
    members = [{"arch": "cnn_small", "epochs": 1}, {"job": first.id}]

    job = wait_for(submit(tiny(teacher={"committee": members}, epochs=1, control=False)))

    assert job.state == State.SUCCEEDED, job.error
    assert job.result["metrics"]["teacher.2.test.top1"] == first.result["metrics"]["teacher.test.top1"]
    with db.read() as session:
        names = {file.name for file in find.artifacts(session, job.id)}
    assert names == {
        "teacher.1.safetensors", "teacher.2.safetensors", "report.json", "report.html", "model-card.md",
    }  # fmt: skip
