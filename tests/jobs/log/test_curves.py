"""Curves: every value survives, once a step, and a new attempt draws on from its checkpoint."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.log import curves
from jobs.log.curves import Cursor
from jobs.queue import recording
from tests.support.curves import series as every_point


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
            return every_point(session, job_id, names)

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


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# -- for those who look on ---------------------------------------------------------------------------------


class Onlooker:
    """Reads on from where it was, as `docs/api.md` says."""

    def __init__(self, db, job_id: str, names: list[str] | None = None, max_points: int = 1_000):
        self.db, self.job_id, self.names, self.max_points = db, job_id, names, max_points
        self.after: Cursor | None = None
        self.series: dict[str, dict[int, float]] = {}

    def look(self) -> curves.Part:
        with self.db.read() as session:
            part = curves.part_after(session, self.job_id, self.names, self.after, self.max_points)
        if part.begins_anew:
            self.series = {}
        for curve in part.curves:
            known = self.series.get(curve.name, {}).items()
            stays = {step: value for step, value in known if step < part.step}
            self.series[curve.name] = stays | dict(zip(curve.steps, curve.values, strict=True))
        self.after = Cursor.read(str(part.next_cursor))
        return part

    def catch_up(self) -> None:
        while self.look().has_more:
            pass


NAMES = st.sampled_from(["loss", "lr", "a.b", "10.1", "\N{SNOWMAN}"])
SAID = st.tuples(NAMES, st.integers(0, 2), st.floats(allow_nan=False))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(SAID, max_size=6), max_size=8))
def test_who_looks_on_has_every_point_whenever_it_looks(add, claim, db, record, series, batches):
    job_id = add()
    held = claim(job_id=job_id)
    steady, slow, step = Onlooker(db, job_id), Onlooker(db, job_id), 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "MOST_CURVES", 2)
        for batch in batches:
            points = []
            for name, later, value in batch:
                step += later  # steps never go back; a step may be said of again
                points.append((name, step, value))
            record(held, *points)
            steady.catch_up()
            slow.look()  # one page, whatever is said in between
            assert steady.series == {name: dict(points) for name, points in series(job_id).items()}
        slow.catch_up()
        slow.catch_up()

    assert slow.series == steady.series


def test_who_looks_on_gets_only_what_is_new(add, claim, db, record):
    job_id = add()
    held = claim()
    onlooker = Onlooker(db, job_id)
    record(held, *[("loss", step, 1.0) for step in range(100)], ("old", 3, 1.0))
    assert onlooker.look().begins_anew
    record(held, ("loss", 100, 0.5))

    part = onlooker.look()

    assert [(curve.name, curve.steps) for curve in part.curves] == [("loss", (99, 100))]
    assert not part.begins_anew
    assert onlooker.look().curves == [("loss", (100,), (0.5,))]


def test_after_a_cut_back_whoever_looks_on_begins_anew(add, claim, db, publish, rescue, record, series, NOON, TTL):
    job_id = add()
    held = claim()
    onlooker, late = Onlooker(db, job_id), Onlooker(db, job_id)
    record(held, *[("loss", step, 1.0) for step in range(30)], ("gone", 25, 1.0))
    publish(held, step=20)
    onlooker.catch_up()
    late.catch_up()
    rescue(NOON + 2 * TTL)

    held = claim(now=NOON + 2 * TTL)
    onlooker.catch_up()
    with db.begin() as session:
        recording.record(session, held, metrics=[("loss", step, 2.0) for step in range(21, 60)], now=NOON + 2 * TTL)
    onlooker.catch_up()
    late.catch_up()

    assert onlooker.series == late.series == {"loss": dict(series(job_id)["loss"])}
    assert onlooker.series["loss"][25] == 2.0


def test_a_damaged_checkpoint_cuts_back_for_those_who_look_on_too(add, claim, db, publish, rescue, record, NOON, TTL):
    job_id = add()
    held = claim()
    publish(held, step=10)
    publish(held, step=20)
    record(held, *[("loss", step, 1.0) for step in range(20)])
    rescue(NOON + 2 * TTL)
    held = claim(now=NOON + 2 * TTL)
    onlooker = Onlooker(db, job_id)
    onlooker.catch_up()

    with db.begin() as session:
        recording.discard_resume(session, held)
    onlooker.catch_up()

    assert list(onlooker.series["loss"]) == list(range(11))


NO_CURSORS = ["", "1", "x", "1.", ".1", "-1.1", "1.-1", "1.1.1", "1.1.1.", "1.1 ", f"1.{2**63}", f"1.1.{2**63}.loss"]


@pytest.mark.parametrize("text", [*NO_CURSORS, "1.1.1.\x00", "1.1.1." + "x" * 201, "\u0661.1", "9999999999.1"])
def test_what_we_have_not_made_is_no_cursor(text):
    assert Cursor.read(text) is None
