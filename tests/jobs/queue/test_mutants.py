"""Each of the conditions that keep the truth is taken out of the code, one at a time, and the walk must notice."""

from collections.abc import Iterator

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test as walk
from sqlalchemy import case, true

from jobs.queue import attempts, backoff, chains, rescue
from jobs.queue import fence as the_fence
from jobs.queue.fence import Claim
from jobs.states import State
from jobs.tables import Base, Job
from tests.jobs.queue.walk import how_often
from tests.jobs.queue.world import TTL
from tests.support.databases import SLOW_ON_POSTGRESQL


def without_the_fence(monkeypatch) -> None:
    monkeypatch.setattr(the_fence, "conditions", lambda claim: (Job.id == claim.job_id,))


def without_the_attempt_in_the_fence(monkeypatch) -> None:
    def fence(claim: Claim):
        return Job.id == claim.job_id, Job.lease_owner == claim.worker, Job.state == State.RUNNING

    monkeypatch.setattr(the_fence, "conditions", fence)


def without_the_cancel_case(monkeypatch) -> None:
    _without(monkeypatch, State.CANCELLED)


def without_the_pause_case(monkeypatch) -> None:
    _without(monkeypatch, State.PAUSED)


def without_the_last_stall(monkeypatch) -> None:
    _without(monkeypatch, State.FAILED)


def _without(monkeypatch, ending: State) -> None:
    """`give_up` with one of its cases fewer."""

    def fewer(*cases, else_):
        kept = [(condition, result) for condition, result in cases if getattr(result, "value", None) is not ending]
        return case(*kept, else_=else_) if kept else else_

    monkeypatch.setattr(attempts, "case", fewer)


def with_rescue_of_the_living(monkeypatch) -> None:
    real = rescue.rescue_expired
    monkeypatch.setattr(
        rescue, "rescue_expired", lambda session, **given: real(session, **{**given, "now": given["now"] + TTL})
    )


def without_the_back_off(monkeypatch) -> None:
    monkeypatch.setattr(backoff, "is_over", lambda now, job=Job: true())


def without_the_wait_for_a_teacher(monkeypatch) -> None:
    monkeypatch.setattr(chains, "has_its_teacher", lambda job=Job: true())


MUTANTS = [
    without_the_fence,
    pytest.param(without_the_attempt_in_the_fence, marks=pytest.mark.slow),
    pytest.param(without_the_cancel_case, marks=pytest.mark.slow),
    pytest.param(without_the_pause_case, marks=pytest.mark.slow),
    pytest.param(without_the_last_stall, marks=pytest.mark.slow),
    pytest.param(with_rescue_of_the_living, marks=pytest.mark.slow),
    pytest.param(without_the_back_off, marks=pytest.mark.slow),
    pytest.param(without_the_wait_for_a_teacher, marks=pytest.mark.slow),
]


@SLOW_ON_POSTGRESQL
@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_the_walk_notices_a_code(life, monkeypatch, mutate):
    mutate(monkeypatch)

    with pytest.raises((AssertionError, KeyError)):
        walk(life, settings=how_often(1_600, phases=[Phase.generate]))


@pytest.fixture
def without_the_unique_key(engine) -> Iterator[None]:
    """Every walk's database is without it; the next test's has it again."""
    (key,) = (index for index in Job.__table__.indexes if index.name == "jobs_by_idempotency_key")
    key.drop(engine)
    engine.dispose()  # a copy of SQLite's file is without it only when no connection holds it
    yield
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    key.create(engine)


@SLOW_ON_POSTGRESQL
def test_the_walk_notices_tables_without_the_unique_key(life, without_the_unique_key):
    with pytest.raises(AssertionError, match="one request made two jobs"):
        walk(life, settings=how_often(1_600, phases=[Phase.generate]))
