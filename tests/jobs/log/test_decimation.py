"""Min-max decimation: few points, and every spike among them; as one would choose them by hand."""

import itertools
import math
import uuid

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from jobs.log.decimation import FEWEST, decimate
from jobs.tables import MetricPoint

ODD = (math.nan, math.inf, -math.inf)
VALUES = st.one_of(st.sampled_from([0.0, 0.5, *ODD]), st.floats())
POINTS = st.dictionaries(st.integers(0, 300) | st.integers(0, 2**40), VALUES, min_size=1, max_size=120)


def by_hand(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """What `decimate` is to choose of points that are sorted by their steps."""
    kinds = [odd for odd in ODD if any(is_same(value, odd) for _, value in points)]
    first, last = points[0][0], points[-1][0]
    width = (last - first) // ((most - 2) // (2 + len(kinds))) + 1
    chosen = {points[0], points[-1]}
    for _, group in itertools.groupby(points, lambda point: (point[0] - first) // width):
        here = list(group)
        if finite := [point for point in here if math.isfinite(point[1])]:
            chosen.add(min(finite, key=lambda point: point[1]))
            chosen.add(max(finite, key=lambda point: point[1]))
        for odd in kinds:
            chosen.update([point for point in here if is_same(point[1], odd)][:1])
    return sorted(chosen, key=lambda point: point[0])


def is_same(value: float, other: float) -> bool:
    return value == other or (math.isnan(value) and math.isnan(other))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, most=st.integers(FEWEST, 60))
def test_of_each_range_the_extremes_are_chosen_and_what_is_no_number(db, NOON, points, most):
    job_id = uuid.uuid4().hex[:30]
    facts = {"job_id": job_id, "name": "loss", "at": NOON}
    with db.begin() as session:
        session.execute(insert(MetricPoint), [facts | {"step": step, "value": points[step]} for step in points])

    with db.read() as session:
        found = decimate(session, (MetricPoint.job_id == job_id, MetricPoint.name == "loss"), most)

    expected = by_hand(sorted(points.items()), most)
    assert len(found) <= most
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert all(is_same(value, points[step]) for step, value in found)


def test_of_nothing_nothing_is_chosen(db):
    with db.read() as session:
        assert decimate(session, (MetricPoint.job_id == "none",), FEWEST) == []
