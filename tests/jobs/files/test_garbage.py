"""What nobody needs is deleted, and nothing that a row names, or that is young."""

import random
from datetime import timedelta

import pytest

from jobs.files import garbage, layout, store
from jobs.files.garbage import Collected
from jobs.job import get_job
from jobs.queue import delete, leases, requests
from jobs.states import State
from tests.jobs.files.leaving import checkpoint, everything, grow_old, publish

SECOND, LONG = timedelta(seconds=1), timedelta(minutes=59)
DRAFT_OLD = 2 * garbage.DRAFT_GRACE_SECONDS


def test_what_an_attempt_left_unpublished_goes_when_the_next_one_runs(
    db, data, add, claim, rescue, write, collect, NOON, TTL
):
    job_id = add()
    held = claim()
    student = write(job_id, 1, checkpoint(10, "student.safetensors"))
    publish(db, data, held, 10, student)
    unpublished, half = write(job_id, 1, checkpoint(20)), write(job_id, 1, checkpoint(20, ".resume.pt.x1"))
    report, log = write(job_id, 1, "report.json"), write(job_id, 1, "trainer.log")
    rescue(NOON + 2 * TTL)
    claim(now=NOON + 2 * TTL)
    of_the_second = [write(job_id, 2, checkpoint(20)), write(job_id, 2, ".report.json.x2")]

    found = collect()

    assert found == Collected(files=3, bytes=9)
    assert not any(path.exists() for path in (unpublished, half, report, unpublished.parent))
    assert all(path.exists() for path in (student, log, *of_the_second))


@pytest.mark.parametrize("after", ["queued", "paused", "cancelled", "failed"])
def test_no_attempt_that_is_over_keeps_what_it_left_unpublished(
    db, add, claim, rescue, write, collect, NOON, TTL, after
):
    job_id = add()
    held = claim()
    left = write(job_id, 1, checkpoint(20))
    assert collect() == Collected(), "it runs"
    with db.begin() as session:
        if after == "paused":
            requests.pause(session, job_id)
        if after == "cancelled":
            requests.cancel(session, job_id)
        if after == "failed":
            leases.release(session, held, State.FAILED)
    rescue(NOON + 2 * TTL)
    with db.read() as session:
        assert get_job(session, job_id).state == after

    assert collect() == Collected(files=1, bytes=3)

    assert not left.exists()


def test_what_is_young_stays_until_the_grace_time_is_over(db, add, claim, write, collect):
    job_id = add()
    held = claim()
    young = write(job_id, 1, checkpoint(20), age=60)
    with db.begin() as session:
        leases.release(session, held, State.CANCELLED)

    assert collect() == Collected()
    assert young.exists()
    assert collect(older_than_seconds=30) == Collected(files=1, bytes=3)


def test_an_attempt_that_the_database_has_not_heard_of_is_left_alone(add, write, collect):
    ahead = write(add(), 1, checkpoint(20))

    assert collect() == Collected()
    assert ahead.exists()


def test_the_folder_of_a_job_that_was_deleted_goes_whole(db, data, add, write, collect, NOON):
    add()
    job_id = add(now=NOON + SECOND)
    for name in (checkpoint(10), "trainer.log", "teacher.safetensors"):
        write(job_id, 1, name)
    with db.begin() as session:
        requests.cancel(session, job_id)
        delete.delete_job(session, job_id)
    # The API is killed here.

    assert collect() == Collected(files=3, bytes=9)
    assert list((data / "jobs").iterdir()) == []


def test_a_deleted_jobs_folder_goes_with_the_request_and_what_was_cut_short_later(data, add, write, collect):
    first, second = add(), add()
    for job_id in (first, second):
        write(job_id, 1, checkpoint(10), age=0)

    store.delete_jobs(data, [first])
    (data / "jobs" / second).rename(data / "jobs" / f".deleted-{second}")  # killed here

    assert everything(data / "jobs") == {f".deleted-{second}/attempt-1/{checkpoint(10)}"}
    assert collect() == Collected(files=1, bytes=3)
    assert list((data / "jobs").iterdir()) == []
    store.delete_jobs(data, [first, second])  # gone already: fine


def test_a_database_that_is_not_that_of_the_data_folder_does_not_empty_it(db, add, write, collect, tmp_path, NOON):
    theirs = [write("job_01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, name) for name in ("teacher.safetensors", checkpoint(10))]

    assert collect() == Collected(unknown=1), "the database is empty"
    add(now=NOON)

    assert collect() == Collected(unknown=1), "the database is younger"
    assert all(path.exists() for path in theirs)


def test_abandoned_drafts_of_label_tables_go_and_tables_stay(data, collect):
    labels = data / "labels"
    labels.mkdir()
    whole, abandoned, young = (f"{number:032x}" for number in (1, 2, 3))
    for name in (f"{whole}.npy", f"{whole}.views.npy", f"{whole}.json", f".{whole}.count.x1", f"{whole}.lock"):
        (labels / name).write_text("abc")
    for name in (f"{abandoned}.draft", f"{abandoned}.count", f"{abandoned}.lock"):
        (labels / name).write_text("abc")
    for path in labels.iterdir():
        grow_old(path, data, DRAFT_OLD)
    (labels / f"{young}.draft").write_text("abc")

    assert collect() == Collected(files=4, bytes=12)

    assert everything(labels) == {
        f"{whole}.npy",
        f"{whole}.views.npy",
        f"{whole}.json",
        f"{whole}.lock",
        f"{young}.draft",
    }


def test_what_was_never_finished_of_a_teacher_goes_and_teachers_stay(data, collect):
    teachers = data / "teachers"
    whole, half, empty, young = (teachers / f"tch_{number:028x}" for number in range(4))
    for path in (
        whole / "teacher.json",
        whole / "model.onnx",
        whole / ".model.onnx.x1",
        half / "model.onnx",
        half / ".teacher.json.x1",
        empty / ".model.onnx.x1",
        young / ".model.onnx.x1",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("abc")
        grow_old(path, data, 0 if path.parent == young else DRAFT_OLD)

    assert collect() == Collected(files=4, bytes=12)
    assert everything(teachers) == {
        f"{whole.name}/model.onnx",
        f"{whole.name}/teacher.json",
        f"{young.name}/.model.onnx.x1",
    }
    assert not half.exists()


def test_what_is_no_teacher_of_ours_stops_nobody_who_collects(data, collect):
    teachers = data / "teachers"
    stray, folder = teachers / "tch_old.tgz", teachers / f"tch_{0:028x}" / "folder"
    folder.mkdir(parents=True)
    stray.write_text("of somebody else")
    for path in (stray, folder, folder.parent):
        grow_old(path, data, DRAFT_OLD)

    collect()

    assert stray.exists()
    assert not folder.exists()


@pytest.mark.parametrize("seed", range(2))
def test_of_any_mix_what_rows_name_stays_and_every_old_orphan_goes(
    db, data, add, claim, rescue, write, collect, named, tmp_path, NOON, TTL, seed
):
    chance = random.Random(seed)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    orphans, stay = set(), {write(add(), 1, "trainer.log")}
    now = NOON
    for _ in range(7):
        now += SECOND
        job_id = add(now=now)
        fate = chance.choice(["runs", "queued", "cancelled", "deleted", "deleted"])
        attempts = chance.randint(1, 3)
        loose = {attempt: set() for attempt in range(1, attempts + 1)}
        for attempt in range(1, attempts + 1):
            lapses = attempt < attempts or fate != "runs"
            held = claim(job_id=job_id, now=now, ttl=TTL if lapses else LONG)
            for step in range(chance.randint(0, 3)):
                new = [write(job_id, attempt, checkpoint(step, name)) for name in ("student.safetensors", "resume.pt")]
                publish(db, data, held, step, *new)  # what it supersedes is left: the worker was killed
                loose[attempt] |= set(new)
            for name in chance.sample([checkpoint(9), checkpoint(9, ".resume.pt.x"), ".x", "report.json"], 2):
                loose[attempt].add(write(job_id, attempt, name))
            stay.add(write(job_id, attempt, "new.json", age=10))
            stay.add(write(job_id, attempt, "trainer.log"))
            if chance.random() < 0.5:
                link = layout.attempt_folder(data, job_id, attempt) / "link"
                link.symlink_to(chance.choice([outside, tmp_path]))
            if lapses:
                now += 2 * TTL
                rescue(now, max_stalls=100)
        if fate in ("cancelled", "deleted"):
            with db.begin() as session:
                requests.cancel(session, job_id, now)
        if fate == "deleted":
            stay -= {path for path in stay if path.name == "trainer.log" and job_id in path.parts}
            with db.begin() as session:
                delete.delete_job(session, job_id)
        if fate == "runs":
            stay |= loose.pop(attempts)
        orphans |= set().union(*loose.values())
    published = {data / path for path in named()}
    orphans -= published

    collect()

    assert published
    assert orphans
    assert {path for path in orphans if path.exists()} == set()
    assert {path for path in published | stay if not path.exists()} == set()
    assert outside.read_text() == "mine"
    assert collect() == Collected(), "nothing is left to do"


def test_without_a_data_folder_there_is_nothing_to_collect(db, data, collect):
    data.rmdir()

    assert collect() == Collected()
