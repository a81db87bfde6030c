"""A long curve in few points, chosen by the database: min-max decimation.

Each of equally wide ranges of steps keeps the points of its smallest and of its largest value, so that a spike of one
step is seen however long the curve is; a mean or every n-th point would hide it. This is "MinMax" in Jugel, Jerzak,
Hackenbroich and Markl, "M4: A Visualization-Oriented Time Series Data Aggregation" (PVLDB 7(10), 2014), which adds the
first and the last point of each range; here the whole curve keeps those two.

What is no finite number is neither small nor large: each range also keeps its first NaN, its first infinity, and its
first negative one.
"""

import math
import sys
from collections.abc import Sequence

from sqlalchemy import CTE, ColumnElement, Row, Select, case, func, select, union
from sqlalchemy.orm import Session

from jobs.tables import MetricPoint

FEWEST = 10
"""Two ends, and one range with two extremes and three kinds of numbers that are not finite, are seven."""

# SQLite keeps a NaN as text, and text is larger than any number; PostgreSQL says the same of NaN itself.
NOT_FINITE = (MetricPoint.value > math.inf, MetricPoint.value == math.inf, MetricPoint.value == -math.inf)
FINITE = MetricPoint.value.between(-sys.float_info.max, sys.float_info.max)


def decimate(session: Session, curve: Sequence[ColumnElement[bool]], most: int) -> Sequence[Row[int, float]]:
    """Of the points that `curve` selects, of one job and one name: at most so many, in the order of steps.

    The database reads them three times and sorts none of what it hands over; they never come here.
    """
    assert most >= FEWEST
    first, last, *has = session.execute(
        select(
            func.min(MetricPoint.step), func.max(MetricPoint.step), *(func.max(case((kind, 1))) for kind in NOT_FINITE)
        ).where(*curve)
    ).one()
    if first is None:
        return []
    kinds = [kind for kind, is_there in zip(NOT_FINITE, has, strict=True) if is_there]
    ranges = _ranges(curve, kinds, first, width=(last - first) // ((most - 2) // (2 + len(kinds))) + 1)
    chosen = union(
        select(MetricPoint.step).where(*curve, MetricPoint.step.in_([first, last])),
        _first_step(curve, ranges, ranges.c.low),
        _first_step(curve, ranges, ranges.c.high),
        *(select(ranges.c[f"odd_{number}"]) for number in range(len(kinds))),
    ).subquery()
    points = select(MetricPoint.step, MetricPoint.value).join(chosen, chosen.c.step == MetricPoint.step)
    return session.execute(points.where(*curve).order_by(MetricPoint.step)).all()


def _ranges(curve: Sequence[ColumnElement[bool]], kinds: Sequence[ColumnElement[bool]], first: int, width: int) -> CTE:
    """Where each range begins and ends, its extremes, and the first step of each kind that is not finite."""
    return (
        select(
            func.min(MetricPoint.step).label("begin"),
            func.max(MetricPoint.step).label("end"),
            func.min(case((FINITE, MetricPoint.value))).label("low"),
            func.max(case((FINITE, MetricPoint.value))).label("high"),
            *(func.min(case((kind, MetricPoint.step))).label(f"odd_{number}") for number, kind in enumerate(kinds)),
        )
        .where(*curve)
        .group_by((MetricPoint.step - first) // width)
        .cte("ranges")
    )


def _first_step(curve: Sequence[ColumnElement[bool]], ranges: CTE, extreme: ColumnElement[float]) -> Select[int]:
    """Of each range the step at which it first had its extreme; found by its index, so nothing has to be sorted."""
    within = MetricPoint.step.between(ranges.c.begin, ranges.c.end)
    step = select(func.min(MetricPoint.step)).where(*curve, within, MetricPoint.value == extreme).correlate(ranges)
    return select(step.scalar_subquery()).select_from(ranges)
