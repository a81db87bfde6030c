"""Deleting a job is quick whatever it has said: that is out of sight at once, and gone a little later."""

import pytest
from sqlalchemy import func, insert, select

from jobs.endings import Code, Ending
from jobs.errors import JobNotFound
from jobs.log import events, purge
from jobs.queue import delete, leases
from jobs.states import State
from jobs.tables import Event, Leftover, MetricPoint
from tests.support import curves


@pytest.fixture
def ended(db, add, claim, NOON):
    """A job that has ended, with so many points; returns its id."""

    def ended(points: int) -> str:
        job_id = add()
        held = claim(job_id=job_id)
        with db.begin() as session:
            leases.release(session, held, State.FAILED, error=Ending(Code.DIVERGED, "m", "h"))
            facts = {"job_id": job_id, "value": 0.5, "at": NOON}
            rows = [{"name": f"loss{step % 3}", "step": step, **facts} for step in range(points)]
            session.execute(insert(MetricPoint), rows)
        return job_id

    return ended


def count(db, what) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(what)).scalar_one()


def test_what_a_deleted_job_has_said_is_out_of_sight_at_once_and_then_gone(db, ended, monkeypatch):
    monkeypatch.setattr(purge, "ROWS", 40)
    gone, stays = ended(points=100), ended(points=10)

    with db.begin() as session:
        delete.delete_job(session, gone)

    with db.read() as session:
        for look in (curves.series, events.events_after):
            with pytest.raises(JobNotFound):
                look(session, gone)
    assert count(db, MetricPoint) == 110
    assert purge.purge(db) == 1
    assert (count(db, MetricPoint), count(db, Leftover)) == (10, 0)
    with db.read() as session:
        assert sum(len(points) for points in curves.series(session, stays).values()) == 10
        assert {event.job_id for event in session.execute(select(Event)).scalars()} == {stays}
    assert purge.purge(db) == 0


def test_who_writes_gets_in_between_the_turns_of_a_purge(db, ended, add, monkeypatch):
    monkeypatch.setattr(purge, "ROWS", 10)
    monkeypatch.setattr(purge, "TURN_SECONDS", 0.001)
    with db.begin() as session:
        delete.delete_job(session, ended(points=500))
    turns = []

    class Between:
        """Where a purge rests, somebody writes."""

        def wait(self, seconds: float) -> bool:
            add()
            turns.append(count(db, MetricPoint))
            return False

    assert purge.purge(db, Between()) == 1

    assert len(turns) > 2
    assert turns == sorted(turns, reverse=True)
    assert turns[-1] == 0
