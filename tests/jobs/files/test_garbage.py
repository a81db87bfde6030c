"""What nobody needs is deleted, and never anything that somebody reads or writes."""

import os
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.files import garbage, layout, store
from jobs.files.garbage import Collected
from jobs.files.retention import NewFile
from jobs.job import get_job
from jobs.queue import delete, leases, recording, requests
from jobs.queue.fence import Claim
from jobs.states import State
from jobs.tables import File, FileKind

SECOND, A_DAY = timedelta(seconds=1), timedelta(days=1)
OLD = 2 * garbage.GRACE_SECONDS
DRAFT_OLD = 2 * garbage.DRAFT_GRACE_SECONDS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


@pytest.fixture
def write(data) -> Callable[..., Path]:
    """A file in an attempt's folder, written long ago."""

    def write(job_id: str, attempt: int, name: str, *, age: float = OLD, content: bytes = b"abc") -> Path:
        path = layout.attempt_folder(data, job_id, attempt) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        grow_old(path, data, age)
        return path

    return write


@pytest.fixture
def collect(db, data) -> Callable[..., Collected]:
    def collect(**changes: object) -> Collected:
        return garbage.collect(db, data, **changes)

    return collect


@pytest.fixture
def named(db) -> Callable[[], set[str]]:
    """The paths that rows hold."""

    def named() -> set[str]:
        with db.read() as session:
            return set(session.execute(select(File.path)).scalars())

    return named


def grow_old(path: Path, data: Path, seconds: float = OLD) -> None:
    then = time.time() - seconds
    while path != data:
        os.utime(path, (then, then), follow_symlinks=False)
        path = path.parent


def checkpoint(step: int, name: str = "resume.pt") -> str:
    return f"checkpoints/step-{step:09d}/{name}"


def publish(db, data: Path, claim: Claim, step: int, *paths: Path, **facts: object) -> list[str]:
    """As a worker does it; the first file is the student, the others are resume states. Returns what is superseded."""
    new = [
        NewFile(
            FileKind.RESUME if number else FileKind.STUDENT,
            path.name,
            path.relative_to(data).as_posix(),
            path.stat().st_size,
            "ab" * 32,
        )
        for number, path in enumerate(paths)
    ]
    told = {"phase": "student", "epoch": 1, "best": False, "metrics": {}} | facts
    with db.begin() as session:
        return recording.publish(session, claim, step=step, files=new, **told).superseded


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


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


@pytest.mark.parametrize("collector", ["collect", "remove_jobs"])
def test_links_are_never_followed(db, data, add, write, collect, tmp_path, NOON, collector):
    add()
    job_id = add(now=NOON + SECOND)
    (tmp_path / "outside" / "attempt-1").mkdir(parents=True)
    secret = tmp_path / "outside" / "attempt-1" / "secret"
    secret.write_text("secret")
    grow_old(secret, tmp_path)
    folder = write(job_id, 1, checkpoint(10)).parent
    (folder / "file").symlink_to(secret)
    (folder / "folder").symlink_to(secret.parent)
    (data / "jobs" / job_id / "attempt-2").symlink_to(secret.parent)
    linked = add(now=NOON + SECOND)
    (data / "jobs" / linked).symlink_to(tmp_path / "outside")
    for path in (folder / "file", folder / "folder", data / "jobs" / job_id / "attempt-2", data / "jobs" / linked):
        grow_old(path, data)
    with db.begin() as session:
        for deleted in (job_id, linked):
            requests.cancel(session, deleted)
            delete.delete_job(session, deleted)

    if collector == "collect":
        collect()
    else:
        store.delete_jobs(data, [job_id, linked])

    assert list((data / "jobs").iterdir()) == []
    assert secret.read_text() == "secret"


def test_a_folder_of_jobs_that_is_a_link_is_not_entered(db, data, add, write, collect, NOON):
    add()
    outside = write("job_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 1, checkpoint(10))
    (data / "jobs").rename(data / "elsewhere")
    (data / "jobs").symlink_to(data / "elsewhere")

    with pytest.raises(NotADirectoryError):
        collect()
    store.delete_jobs(data, ["job_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"])

    assert (data / "elsewhere" / outside.relative_to(data / "jobs")).exists()


def test_a_download_that_has_begun_is_read_to_its_end(db, data, add, write, collect, NOON):
    add()
    job_id = add(now=NOON + SECOND)
    content = random.Random(0).randbytes(300_000)
    write(job_id, 1, "teacher.safetensors", content=content)
    path, _ = store.open_file(data, f"jobs/{job_id}/attempt-1/teacher.safetensors")
    with path.open("rb") as download:
        begun = download.read(1000)
        with db.begin() as session:
            requests.cancel(session, job_id)
            delete.delete_job(session, job_id)

        assert collect() == Collected(files=1, bytes=300_000)

        assert begun + download.read() == content


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
            held = claim(job_id=job_id, now=now, ttl=TTL if lapses else A_DAY)
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


def test_collectors_that_meet_do_not_harm_each_other(db, data, add, write, NOON):
    add()
    for number in range(30):
        for step in range(3):
            write(f"job_7{number:025d}", 1, checkpoint(step))
    at_once = threading.Barrier(3)
    found: list[Collected] = []

    def run() -> None:
        at_once.wait()
        found.append(garbage.collect(db, data))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(one.files for one in found) == 90, "each file was deleted by one of them"
    assert everything(data / "jobs") == set()


def test_a_collector_without_patience_takes_nothing_from_those_who_work(db, data, add, claim, rescue, named, NOON, TTL):
    """Even if all counts as old: jobs come, publish, lose their workers, go on, end and are deleted meanwhile."""
    over, failures = threading.Event(), []
    rounds = 0

    def collect_all_the_time() -> None:
        nonlocal rounds
        while not over.is_set():
            try:
                garbage.collect(db, data, older_than_seconds=-A_DAY.total_seconds())
            except Exception as error:
                failures.append(error)
                return
            rounds += 1

    def write_file(held: Claim, step: int, name: str) -> Path:
        path = layout.attempt_folder(data, held.job_id, held.attempt) / checkpoint(step, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.x")
        temporary.write_bytes(b"weights")
        temporary.replace(path)
        return path

    def missing() -> set[str]:
        return {path for path in named() if not (data / path).exists()}

    add()
    collector = threading.Thread(target=collect_all_the_time)
    collector.start()
    try:
        now = NOON
        for number in range(6):
            now += SECOND
            job_id = add(now=now)
            for attempt in (1, 2):
                held = claim(job_id=job_id, now=now, ttl=TTL if attempt == 1 else A_DAY)
                for step in range(attempt * 10, attempt * 10 + 4):
                    new = [write_file(held, step, name) for name in ("student.safetensors", "resume.pt")]
                    superseded = publish(db, data, held, step, *new, best=step % 3 == 0)
                    store.delete(data, superseded)
                    assert missing() == set()
                write_file(held, 99, "resume.pt")  # never published
                if attempt == 1:
                    now += 2 * TTL
                    rescue(now)
            if number % 2 == 0:
                with db.begin() as session:
                    leases.release(session, held, State.FAILED)
                    delete.delete_job(session, job_id)
                store.delete_jobs(data, [job_id])
            assert missing() == set()
        seen = rounds
        while rounds < seen + 2 and not failures:
            time.sleep(0.01)
    finally:
        over.set()
        collector.join()

    assert failures == []
    assert missing() == set()
    left = everything(data / "jobs") - {path.removeprefix("jobs/") for path in named()}
    assert {path.partition("/")[2] for path in left} == {f"attempt-2/{checkpoint(99)}"}, "of those that still run"


def test_processes_that_share_a_data_folder_take_turns(data):
    assert garbage.is_due(data, every_seconds=600)
    assert not garbage.is_due(data, every_seconds=600)

    for mark in data.iterdir():
        grow_old(mark, data, 700)

    assert garbage.is_due(data, every_seconds=600)


def test_a_collector_that_is_to_stop_does(db, data, add, write):
    add()
    left = write("job_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 1, checkpoint(10))
    stop = threading.Event()
    stop.set()

    garbage.collect(db, data, stop=stop)

    assert not left.exists(), "it ends after a batch, not in the middle of one"


def test_without_a_data_folder_there_is_nothing_to_collect(db, data, collect):
    data.rmdir()

    assert collect() == Collected()
