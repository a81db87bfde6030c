"""A submission, whoever makes it: replay, room, data, teacher, and then the row."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from jobs.database.engine import Sessions
from jobs.errors import JobNotFound, KeyReused, NoRoom, SpecRefused
from jobs.job import get_job
from jobs.queue import find
from jobs.queue.submit import Idempotency, Submission, submit
from jobs.settings import Settings
from kd.spec import parse

GIVEN = {"mode": "train", "config": {}}
PLAIN = Submission(parse(GIVEN), GIVEN)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def plain(session: Session) -> Submission:
    return PLAIN


def never(session: Session) -> Submission:
    raise AssertionError("a replay reads no draft")


def count(db: Sessions) -> int:
    with db.read() as session:
        return len(find.list_jobs(session).items)


def test_a_request_that_comes_again_has_its_job_without_room_or_a_draft(db: Sessions, settings: Settings) -> None:
    full = settings.model_copy(update={"min_free_bytes": 2**60})
    key = Idempotency("k", "/jobs", {"a": 1, "b": 2})
    reordered = Idempotency("k", "/jobs", {"b": 2, "a": 1})

    first, is_new = submit(db, settings, plain, idempotency=key)
    again = submit(db, full, never, idempotency=reordered)

    assert is_new
    assert (again[0].id, again[1]) == (first.id, False)
    assert count(db) == 1


@pytest.mark.parametrize("other", [Idempotency("k", "/sweeps", {}), Idempotency("k", "/jobs", {"a": 1})])
def test_a_key_of_another_path_or_body_is_refused(db: Sessions, settings: Settings, other: Idempotency) -> None:
    submit(db, settings, plain, idempotency=Idempotency("k", "/jobs", {}))

    with pytest.raises(KeyReused):
        submit(db, settings, plain, idempotency=other)


def test_without_room_nothing_is_read_and_nothing_added(db: Sessions, settings: Settings) -> None:
    with pytest.raises(NoRoom):
        submit(db, settings.model_copy(update={"min_free_bytes": 2**60}), never)

    assert count(db) == 0


def test_what_no_longer_holds_when_the_job_is_added_adds_none(db: Sessions, settings: Settings) -> None:
    def confirm(session: Session) -> None:
        get_job(session, "job_01ARZ3NDEKTSV4RRFFQ69G5FAV")

    with pytest.raises(JobNotFound):
        submit(db, settings, plain, confirm=confirm)

    assert count(db) == 0


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"dataset": "packed/pets"}, "/config/dataset"),
        ({"teacher": {"job": "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"}}, "/config/teacher/job"),
    ],
)
def test_a_spec_that_asks_for_what_is_not_here_is_refused_with_the_place(
    db: Sessions, settings: Settings, config: dict[str, object], pointer: str
) -> None:
    given = {"mode": "train", "config": config}

    with pytest.raises(SpecRefused, match=pointer) as refused:
        submit(db, settings, lambda session: Submission(parse(given), given))

    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert count(db) == 0
