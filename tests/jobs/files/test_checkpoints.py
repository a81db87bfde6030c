"""What is kept of a run while it goes, and what an attempt goes on from."""

from dataclasses import replace

import pytest

from jobs.errors import ArtifactNotFound, CheckpointNotFound, JobNotFound, NotStorable, UnsafePath
from jobs.files import find
from jobs.log import events
from jobs.queue import leases, recording
from jobs.states import State
from jobs.tables import FileKind
from tests.support import curves


@pytest.fixture
def shown(db):
    """The steps of the checkpoints that a user sees, newest first, and which of them is the best."""

    def shown(job_id: str) -> tuple[list[int], int | None]:
        with db.read() as session:
            rows = find.checkpoints(session, job_id)
            return [row.step for row in rows], next((row.step for row in rows if row.best), None)

    return shown


def names(published) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in published.superseded)


def test_a_checkpoint_can_be_seen_with_its_student(db, add, claim, publish, job, events):
    job_id = add()

    published = publish(claim(), step=10, best=True, metrics={"top1": float("nan")})

    with db.read() as session:
        row = find.checkpoint(session, job_id, published.checkpoint_id)
    assert (row.job_id, row.attempt, row.phase, row.step, row.epoch, row.best) == (job_id, 1, "student", 10, 1, True)
    assert row.metrics == {"top1": "NaN"}
    assert (row.student.name, row.student.size, row.student.sha256) == ("student-10.safetensors", 3, "ab" * 32)
    assert row.student.path == f"jobs/{job_id}/attempt-1/student-10.safetensors"
    assert (job(job_id).checkpoint_step, job(job_id).stalls) == (10, 0)
    assert events(job_id)[-1] == (
        "checkpoint",
        {
            "checkpoint_id": published.checkpoint_id,
            "phase": "student",
            "step": 10,
            "epoch": 1,
            "best": True,
            "metrics": {"top1": "NaN"},
        },
    )


def test_the_best_and_the_last_student_are_kept_and_two_resume_files(add, claim, publish, shown):
    job_id = add()
    held = claim()

    first = publish(held, step=10, best=True)
    second = publish(held, step=20)
    third = publish(held, step=30)
    fourth = publish(held, step=40, best=True)

    assert [names(published) for published in (first, second)] == [[], []]
    assert names(third) == ["resume-10.pt", "student-20.safetensors"]
    assert names(fourth) == ["resume-20.pt", "student-10.safetensors", "student-30.safetensors"]
    assert shown(job_id) == ([40], 40)


def test_phases_without_a_student_leave_the_students_alone(add, claim, publish, shown):
    job_id = add()
    held = claim()
    publish(held, step=10, best=True)
    publish(held, step=20)

    superseded = [names(publish(held, step=step, student=False, phase="control")) for step in (30, 40, 50)]

    assert superseded == [["resume-10.pt"], ["resume-20.pt"], ["resume-30.pt"]]
    assert shown(job_id) == ([20, 10], 10)


def test_best_and_last_are_names_for_checkpoints(db, add, claim, publish):
    job_id = add()
    held = claim()
    publish(held, step=10, best=True)
    publish(held, step=20)

    with db.read() as session:
        assert find.checkpoint(session, job_id, "best").step == 10
        assert find.checkpoint(session, job_id, "last").step == 20


@pytest.mark.parametrize("which", ["best", "last", "ckpt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "ckpt_\x00", "", "../best"])
def test_a_checkpoint_that_is_not_there_is_an_error_that_says_so(db, add, claim, publish, which):
    job_id = add()
    publish(claim(), step=1, student=False)

    with db.read() as session, pytest.raises(CheckpointNotFound):
        find.checkpoint(session, job_id, which)


def test_a_checkpoint_of_another_job_is_not_there(db, add, claim, publish):
    mine, other = add(), add()
    publish(claim(job_id=mine), step=1)
    theirs = publish(claim(job_id=other), step=1).checkpoint_id

    with db.read() as session, pytest.raises(CheckpointNotFound):
        find.checkpoint(session, mine, theirs)


def test_a_claim_goes_on_from_the_newest_resume_file(add, claim, publish, rescue, NOON, TTL):
    job_id = add()
    held = claim()
    publish(held, step=10)
    publish(held, step=20)
    rescue(NOON + 2 * TTL)

    second = claim(now=NOON + 2 * TTL)

    assert second.checkpoint_step == 20
    assert second.resume.path == f"jobs/{job_id}/attempt-1/resume-20.pt"


def test_files_of_an_earlier_attempt_are_superseded_like_any_other(add, claim, publish, rescue, shown, NOON, TTL):
    job_id = add()
    first = claim()
    publish(first, step=10, best=True)
    publish(first, step=20)
    rescue(NOON + 2 * TTL)
    second = claim(now=NOON + 2 * TTL)

    superseded = publish(second, step=30, best=True).superseded

    assert sorted(superseded) == [
        f"jobs/{job_id}/attempt-1/{name}"
        for name in ("resume-10.pt", "student-10.safetensors", "student-20.safetensors")
    ]
    assert shown(job_id) == ([30], 30)


def test_a_damaged_resume_file_is_discarded_for_the_one_before(db, add, claim, publish, rescue, job, NOON, TTL):
    job_id = add()
    held = claim()
    publish(held, step=10)
    publish(held, step=20)
    with db.begin() as session:
        recording.record(session, held, metrics=[("loss", step, 1.0) for step in (5, 10, 15, 20)])
    rescue(NOON + 2 * TTL)
    second = claim(now=NOON + 2 * TTL)

    with db.begin() as session:
        third = recording.discard_resume(session, second)
    with db.begin() as session:
        nothing = recording.discard_resume(session, third)
        points = curves.series(session, job_id)

    assert (third.resume.path, third.checkpoint_step) == (f"jobs/{job_id}/attempt-1/resume-10.pt", 10)
    assert (nothing.resume, nothing.checkpoint_step) == (None, -1)
    assert points == {}, "it all happens again"
    assert job(job_id).checkpoint_step == -1
    publish(nothing, step=5)
    assert job(job_id).stalls == 0, "after a step back, progress counts from there"


def test_a_path_written_anew_is_not_deleted(add, claim, publish, new_file):
    add()
    held = claim()
    same_path = [new_file(held, FileKind.RESUME, "resume.pt")]

    superseded = [publish(held, step=step, files=same_path).superseded for step in range(5)]

    assert superseded == [[]] * 5


def test_success_leaves_the_students_and_drops_the_resume_files(db, add, claim, publish, shown, job):
    job_id = add()
    held = claim()
    publish(held, step=10, best=True)
    publish(held, step=20)
    publish(held, step=30, student=False)

    with db.begin() as session:
        to_delete = leases.release(session, held, State.SUCCEEDED, result={"metrics": {"gain": 0.1}})

    assert sorted(to_delete) == [f"jobs/{job_id}/attempt-1/resume-{step}.pt" for step in (20, 30)]
    assert shown(job_id) == ([20, 10], 10)
    assert (job(job_id).state, job(job_id).result) == (State.SUCCEEDED, {"metrics": {"gain": 0.1}})


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_job_that_did_not_succeed_keeps_what_it_has(db, add, claim, publish, shown, state):
    job_id = add()
    held = claim()
    publish(held, step=10, best=True)

    with db.begin() as session:
        assert leases.release(session, held, state) == []

    assert shown(job_id) == ([10], 10)


def test_an_artifact_of_the_same_name_replaces_the_one_before(db, add, claim, rescue, new_file, NOON, TTL):
    job_id = add()
    first = claim()
    with db.begin() as session:
        assert recording.publish_file(session, first, new_file(first, FileKind.ARTIFACT, "report.json")) == []
        assert recording.publish_file(session, first, new_file(first, FileKind.ARTIFACT, "model-card.md")) == []
    rescue(NOON + 2 * TTL)
    second = claim(now=NOON + 2 * TTL)

    with db.begin() as session:
        replaced = recording.publish_file(session, second, new_file(second, FileKind.ARTIFACT, "report.json"))

    with db.read() as session:
        assert replaced == [f"jobs/{job_id}/attempt-1/report.json"]
        assert [file.name for file in find.artifacts(session, job_id)] == ["model-card.md", "report.json"]
        assert find.artifact(session, job_id, "report.json").path == f"jobs/{job_id}/attempt-2/report.json"


def test_checkpoints_are_no_artifacts(db, add, claim, publish):
    job_id = add()
    publish(claim(), step=1)

    with db.read() as session:
        assert find.artifacts(session, job_id) == []
        for name in ("resume-1.pt", "student-1.safetensors", "\x00", ""):
            with pytest.raises(ArtifactNotFound):
                find.artifact(session, job_id, name)


@pytest.mark.parametrize("name", ["../report", "a/b", "", ".hidden", "a\x00", "a b", "x" * 201])
def test_a_file_has_a_name_that_is_safe_everywhere(db, add, claim, new_file, name):
    add()
    held = claim()
    file = replace(new_file(held, FileKind.ARTIFACT, "report.json"), name=name)

    with pytest.raises(NotStorable), db.begin() as session:
        recording.publish_file(session, held, file)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "jobs/../../x", "jobs//x", "./jobs", "jobs/", "", "a\\..\\b"])
def test_a_row_never_holds_a_path_that_leaves_the_data_folder(db, add, claim, new_file, path):
    add()
    held = claim()
    file = replace(new_file(held, FileKind.ARTIFACT, "report.json"), path=path)

    with pytest.raises(UnsafePath), db.begin() as session:
        recording.publish_file(session, held, file)


def test_the_files_of_an_unknown_job_are_an_unknown_job(db):
    with db.read() as session:
        for look in (find.checkpoints, find.artifacts, curves.series, events.events_after):
            with pytest.raises(JobNotFound):
                look(session, "job_01ARZ3NDEKTSV4RRFFQ69G5FAV")
