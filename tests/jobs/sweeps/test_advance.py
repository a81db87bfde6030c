"""A member of a sweep is made once, however many make it at the same moment, and wherever they die over it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from jobs.database.engine import Sessions
from jobs.settings import Settings
from jobs.sweeps import advance, requests, submit
from jobs.sweeps.plan import Plan
from jobs.tables import Job, Member

SEEDS = {"config.seed": {"grid": list(range(30))}}


@pytest.fixture
def begin(db: Sessions, tmp_path: Path) -> Any:
    """Submit a sweep of thirty, of which the first are there; returns its id."""

    def begin(**changes: Any) -> str:
        plan = Plan.model_validate({"mode": "train", "space": SEEDS, **changes})
        return submit.submit(db, Settings(data_dir=tmp_path), plan)[0].id

    return begin


def members(db: Sessions, sweep_id: str) -> list[tuple[int, str]]:
    with db.read() as session:
        found = select(Member.number, Member.job_id).where(Member.sweep_id == sweep_id).order_by(Member.number)
        made = [tuple(row) for row in session.execute(found)]
        there = set(session.execute(select(Job.id)).scalars())
    assert {job_id for _, job_id in made} == there, "a job without a member, or a member without a job"
    return made


def test_those_who_advance_a_sweep_at_the_same_moment_make_each_member_once(
    db: Sessions, begin: Any, tmp_path: Path
) -> None:
    sweep_id = begin()
    together, made = threading.Barrier(4), list[str]()

    def go_on() -> None:
        together.wait()
        made.extend(advance.advance(db, tmp_path, sweep_id))

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.extend(advance.advance(db, tmp_path, sweep_id))

    now = members(db, sweep_id)
    assert [number for number, _ in now] == list(range(1, 31))
    assert sorted(made) == sorted(job_id for _, job_id in now[advance.TOGETHER :])


def test_who_dies_in_the_middle_leaves_nothing_and_the_next_one_makes_it(
    db: Sessions, begin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep_id, real, calls = begin(), advance.add, []

    def die_at_the_third(*given: Any) -> Job:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(advance, "add", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        advance.advance(db, tmp_path, sweep_id)
    left = len(members(db, sweep_id))

    advance.advance(db, tmp_path, sweep_id)

    assert left == advance.TOGETHER
    assert [number for number, _ in members(db, sweep_id)] == list(range(1, 31))


@pytest.mark.parametrize("meanwhile", [requests.pause, requests.cancel, None])
def test_what_was_read_before_somebody_else_acted_is_not_carried_out(
    db: Sessions, begin: Any, meanwhile: Any, tmp_path: Path
) -> None:
    sweep_id = begin(budget={"max_parallel": 25})
    read = advance.Intent(members=20, points=[{"config.seed": 20}])
    if meanwhile is None:
        advance.advance(db, tmp_path, sweep_id)  # makes the five for which there is room
    else:
        with db.begin() as session:
            meanwhile(session, sweep_id)
    before = members(db, sweep_id)

    with db.begin() as session:
        done = advance.carry_out(session, tmp_path, sweep_id, read)

    assert done is None
    assert members(db, sweep_id) == before
    assert len(before) == (25 if meanwhile is None else 20)
