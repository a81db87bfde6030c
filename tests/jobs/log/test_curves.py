"""Curves: every value survives, once a step, and a new attempt draws on from its checkpoint."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.log import curves
from jobs.queue import recording


@pytest.fixture
def record(db):
    def record(claim, *points: tuple[str, int, float]) -> None:
        with db.begin() as session:
            recording.record(session, claim, metrics=points)

    return record


@pytest.fixture
def series(db):
    def series(job_id: str, names: list[str] | None = None) -> dict[str, list[tuple[int, float]]]:
        with db.read() as session:
            return curves.metric_series(session, job_id, names)

    return series


def test_curves_come_back_by_name_in_the_order_of_steps(add, claim, record, series):
    job_id = add()
    held = claim()
    record(held, ("loss", 2, 0.5), ("loss", 10, 0.25), ("top1", 2, 0.75))
    record(held, ("loss", 1, 1))

    assert series(job_id) == {"loss": [(1, 1.0), (2, 0.5), (10, 0.25)], "top1": [(2, 0.75)]}
    assert series(job_id, ["top1", "nothing", "\x00"]) == {"top1": [(2, 0.75)]}
    assert series(job_id, []) == {}


def test_nan_and_infinities_survive(add, claim, record, series):
    job_id = add()

    record(claim(), ("loss", 1, math.nan), ("loss", 2, math.inf), ("loss", 3, -math.inf), ("loss", 4, -0.0))

    (_, nan), *rest = series(job_id)["loss"]
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert rest == [(2, math.inf), (3, -math.inf), (4, 0.0)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(), min_size=1, max_size=50))
def test_every_float_comes_back_as_it_was(add, claim, record, series, values):
    job_id = add()

    record(claim(), *[("x", step, value) for step, value in enumerate(values)])

    back = [value for _, value in series(job_id)["x"]]
    for value, again in zip(values, back, strict=True):
        assert value == again or (math.isnan(value) and math.isnan(again))


def test_the_last_word_on_a_step_wins(add, claim, record, series):
    job_id = add()
    held = claim()

    record(held, ("loss", 1, 3.0), ("loss", 1, 2.0))
    record(held, ("loss", 1, 1.0))

    assert series(job_id) == {"loss": [(1, 1.0)]}


def test_a_new_attempt_cuts_the_curves_back_to_its_checkpoint(add, claim, publish, rescue, record, series, NOON, TTL):
    job_id, other = add(), add()
    first = claim(job_id=job_id)
    record(claim(job_id=other, ttl=100 * TTL), ("loss", 99, 1.0))
    record(first, *[("loss", step, 1.0) for step in range(1, 31)])
    publish(first, step=20)
    rescue(NOON + 2 * TTL)

    claim(job_id=job_id, now=NOON + 2 * TTL)

    assert [step for step, _ in series(job_id)["loss"]] == list(range(1, 21))
    assert series(other) == {"loss": [(99, 1.0)]}


def test_without_a_checkpoint_the_curves_begin_anew(add, claim, rescue, record, series, NOON, TTL):
    job_id = add()
    record(claim(), ("loss", 0, 1.0), ("loss", 1, 1.0))
    rescue(NOON + 2 * TTL)

    claim(now=NOON + 2 * TTL)

    assert series(job_id) == {}


def test_a_large_batch_is_one_call(add, claim, record, series):
    job_id = add()

    record(claim(), *[(f"m{number}", step, step / 7) for number in range(10) for step in range(2_000)])

    assert sum(len(curve) for curve in series(job_id).values()) == 20_000
