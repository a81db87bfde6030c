"""New jobs are refused, and workers take none, while the disk is low or the files of all jobs take too much."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from jobs import tables as module
from jobs.errors import NoRoom
from jobs.files import quota
from jobs.queue import delete, find, leases
from jobs.settings import Settings
from tests.support.waiting import wait_until

# More than any disk has.
TOO_MUCH = 10**18


@pytest.fixture
def settings(database_url, tmp_path) -> Callable[..., Settings]:
    def settings(**given: object) -> Settings:
        return Settings(database_url=database_url, data_dir=tmp_path / "data", **{"min_free_bytes": 0} | given)

    return settings


@pytest.fixture
def refusal(db) -> Callable[[Settings], str | None]:
    """Why a new job is refused now."""

    def refusal(settings: Settings) -> str | None:
        try:
            with db.read() as session:
                quota.check(session, settings)
        except NoRoom as error:
            return error.why
        return None

    return refusal


@pytest.fixture
def becomes(refusal) -> Callable[[Settings, bool], bool]:
    """Whether new jobs are refused, or not any more, after a while: the sum may be a moment old."""

    def becomes(settings: Settings, refused: bool) -> bool:
        return wait_until(lambda: (refusal(settings) is not None) == refused)

    return becomes


def test_a_disk_with_less_free_than_there_must_be_takes_no_job(settings, refusal):
    low = settings(min_free_bytes=TOO_MUCH)

    why = refusal(low)

    assert why == quota.trouble(low)
    assert "GB free" in why
    assert "1,000,000.0 TB must be" in why
    assert "STILLHOUSE_MIN_FREE_BYTES" in why


def test_a_disk_with_enough_free_takes_jobs(settings, refusal, tmp_path):
    enough = settings(min_free_bytes=shutil.disk_usage(tmp_path).free // 2)

    assert not enough.data_dir.exists(), "it counts where the folder will be"
    assert quota.trouble(enough) is None
    assert refusal(enough) is None


def test_without_limits_nothing_is_refused(settings, refusal):
    assert quota.trouble(settings()) is None
    assert refusal(settings()) is None


def test_files_of_all_jobs_beyond_the_quota_refuse_new_jobs_until_some_are_deleted(
    db, add, claim, publish, settings, becomes, refusal
):
    limited = settings(quota_bytes=12)  # each checkpoint has two files of three bytes
    first, second = add(), add()
    publish(claim(job_id=first), 1)
    assert refusal(limited) is None

    publish(claim(job_id=second), 1)

    assert becomes(limited, True)
    why = refusal(limited)
    assert why is not None
    assert "take 12 bytes; 12 bytes is what they may take" in why
    assert "STILLHOUSE_QUOTA_BYTES" in why
    assert quota.trouble(limited) is None, "jobs that are there may run"

    with db.begin() as session:
        delete.delete_all(session, [module.Job.id == first])  # runs: stays
    assert refusal(limited) is not None


def test_logs_of_all_attempts_count_as_files_do(db, add, claim, rescue, settings, becomes, refusal, NOON, TTL):
    limited = settings(quota_bytes=12)
    add()
    for number, log_bytes in enumerate((5, 7)):
        assert refusal(limited) is None
        now = NOON + 10 * number * TTL
        with db.begin() as session:
            leases.renew(session, claim(now=now), ttl=TTL, spent=leases.Spent(1.0, log_bytes), now=now)
        rescue(now + 2 * TTL)

    assert becomes(limited, True)


def test_room_that_is_made_is_seen(db, add, claim, publish, new_file, settings, becomes):
    limited = settings(quota_bytes=1_000)
    add()
    held = claim()
    large = [replace(file, size=2_000) for file in [new_file(held, "student", "student.safetensors")]]
    publish(held, 1, files=large)
    assert becomes(limited, True)

    publish(held, 2)  # supersedes it

    assert becomes(limited, False)


def test_many_who_ask_at_once_all_get_an_answer(db, add, claim, publish, settings):
    add()
    publish(claim(), 1)
    limited, answers = settings(quota_bytes=5), []

    def ask() -> None:
        for _ in range(20):
            try:
                with db.begin() as session:  # also of those who hold the one connection that may write
                    find.list_jobs(session)
                    quota.check(session, limited)
            except NoRoom:
                answers.append("no")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["no"] * 80
