"""What a user can say of which students are kept: how many of the newest, and which ones whatever comes."""

import threading
from collections.abc import Callable

import pytest

from jobs.errors import CheckpointNotFound, JobNotFound
from jobs.files import find, layout, retention, store
from jobs.queue import delete, leases
from jobs.states import State


@pytest.fixture
def kept(db) -> Callable[[str], list[int]]:
    """The steps of the students that are there, newest first."""

    def kept(job_id: str) -> list[int]:
        with db.read() as session:
            return [row.step for row in find.checkpoints(session, job_id)]

    return kept


@pytest.fixture
def pin(db) -> Callable[..., list[str]]:
    """Returns the names of the files that may go."""

    def pin(job_id: str, checkpoint_id: str, pinned: bool = True) -> list[str]:
        with db.begin() as session:
            checkpoint, superseded = retention.pin(session, job_id, checkpoint_id, pinned)
        assert (checkpoint.id, checkpoint.pinned) == (checkpoint_id, pinned)
        assert checkpoint.student is not None, "it can be shown, also when it is gone"
        return sorted(path.rpartition("/")[2] for path in superseded)

    return pin


@pytest.mark.parametrize(("keep_last", "steps"), [(1, [50, 20]), (2, [50, 40, 20]), (10, [50, 40, 30, 20, 10])])
def test_a_job_keeps_as_many_of_its_newest_students_as_it_was_asked_to_and_the_best(
    add, claim, publish, kept, keep_last, steps
):
    job_id = add(keep_last=keep_last)
    held = claim()

    for step in (10, 20, 30, 40, 50):
        publish(held, step, best=step in (10, 20))

    assert kept(job_id) == steps


def test_a_pinned_student_stays_while_newer_ones_come(db, add, claim, publish, pin, kept):
    job_id = add()
    held = claim()
    publish(held, 10, best=True)
    pinned = publish(held, 20).checkpoint_id
    assert pin(job_id, pinned) == []

    later = [publish(held, step).superseded for step in (30, 40, 50)]

    assert kept(job_id) == [50, 20, 10]
    with db.read() as session:
        found = find.checkpoint(session, job_id, pinned)
    assert found.pinned
    assert [path for paths in later for path in paths if "student-20" in path] == []


def test_of_a_pinned_checkpoint_the_resume_state_is_not_kept(db, add, claim, publish, pin):
    job_id = add()
    held = claim()
    pin(job_id, publish(held, 10).checkpoint_id)
    for step in (20, 30):
        publish(held, step)

    with db.read() as session:
        assert [checkpoint.step for _, checkpoint in retention.resumes(session, job_id)] == [30, 20]


def test_a_student_that_is_let_go_goes_if_a_newer_one_has_taken_its_place(db, add, claim, publish, pin, kept):
    job_id = add()
    held = claim()
    best, pinned = publish(held, 10, best=True).checkpoint_id, publish(held, 20).checkpoint_id
    pin(job_id, pinned)
    last = publish(held, 30).checkpoint_id
    for checkpoint_id in (best, last):
        pin(job_id, checkpoint_id)
    with db.begin() as session:
        leases.release(session, held, State.FAILED)

    superseded = [pin(job_id, checkpoint_id, False) for checkpoint_id in (best, pinned, last)]

    assert superseded == [[], ["student-20.safetensors"], []]
    assert kept(job_id) == [30, 10]


def test_pinning_twice_is_pinning_and_letting_go_what_was_not_pinned_is_nothing(add, claim, publish, pin, kept):
    job_id = add()
    only = publish(claim(), 10).checkpoint_id

    assert [pin(job_id, only, pinned) for pinned in (False, True, True, False, False)] == [[]] * 5
    assert kept(job_id) == [10]


def test_only_what_can_be_downloaded_can_be_pinned(db, add, claim, publish):
    job_id, other = add(), add()
    held = claim(job_id=job_id)
    without_student = publish(held, 10, student=False).checkpoint_id
    gone = publish(held, 20).checkpoint_id
    publish(held, 30)
    elsewhere = publish(claim(job_id=other), 10).checkpoint_id

    for checkpoint_id in (without_student, gone, elsewhere, "ckpt_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        with pytest.raises(CheckpointNotFound), db.begin() as session:
            retention.pin(session, job_id, checkpoint_id, True)
    with pytest.raises(JobNotFound), db.begin() as session:
        retention.pin(session, "job_01ARZ3NDEKTSV4RRFFQ69G5FAV", gone, True)


def test_a_deleted_job_takes_its_pinned_students_with_it(db, add, claim, publish, pin, tmp_path):
    job_id = add()
    held = claim()
    pin(job_id, publish(held, 10).checkpoint_id)
    student = layout.attempt_folder(tmp_path, job_id, 1) / "student-10.safetensors"
    student.parent.mkdir(parents=True)
    student.write_bytes(b"abc")
    with db.begin() as session:
        leases.release(session, held, State.FAILED)

    with db.begin() as session:
        delete.delete_job(session, job_id)
    store.delete_jobs(tmp_path, [job_id])

    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_pin_and_a_newer_checkpoint_at_the_same_moment_leave_the_row_or_say_that_it_is_gone(
    db, add, claim, publish, kept
):
    job_id = add()
    held = claim()
    last = publish(held, 10).checkpoint_id
    said = []

    for step in range(20, 120, 10):
        at_once = threading.Barrier(2)

        def pin(checkpoint_id: str = last, at_once: threading.Barrier = at_once) -> None:
            at_once.wait()
            try:
                with db.begin() as session:
                    retention.pin(session, job_id, checkpoint_id, True)
            except CheckpointNotFound:
                said.append("gone")
            else:
                said.append(checkpoint_id)

        thread = threading.Thread(target=pin)
        thread.start()
        at_once.wait()
        last = publish(held, step).checkpoint_id
        thread.join()

    with db.read() as session:
        there = {row.id for row in find.checkpoints(session, job_id)}
    assert len(said) == 10
    assert there == {checkpoint_id for checkpoint_id in said if checkpoint_id != "gone"} | {last}
