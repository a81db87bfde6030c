"""Collectors run beside readers, workers and one another, and harm none of them."""

import random
import threading
import time
from datetime import timedelta
from pathlib import Path

from jobs.files import garbage, layout, store
from jobs.files.garbage import Collected
from jobs.queue import delete, leases, requests
from jobs.queue.fence import Claim
from jobs.states import State
from tests.jobs.files.leaving import checkpoint, everything, grow_old, publish

SECOND, LONG, A_DAY = timedelta(seconds=1), timedelta(minutes=59), timedelta(days=1)


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
                held = claim(job_id=job_id, now=now, ttl=TTL if attempt == 1 else LONG)
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
