"""A job's curves: one value for each name and step. They may be long, and are never read whole at once."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, Row, Select, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs import pages
from jobs.database import storable
from jobs.job import get_job
from jobs.log.decimation import decimate
from jobs.tables import MetricPoint

MOST_CURVES = 500
"""On a page."""
POINT_BYTES = 30
"""About what a point takes in an answer."""
LAST_STEP = 2**63 - 1


class Cursor(NamedTuple):
    """What a reader has: in this attempt, everything before `step`, and of what comes then the curves up to `name`.

    Within an attempt steps never go back, and the next one begins its curves anew from a checkpoint. So one number
    stands for all curves; those of the last step are read once more, since more may be said of it.
    """

    attempt: int
    step: int = 0
    newest: int = 0
    """The step to go on from when the last curve has been read."""
    name: str | None = None

    def __str__(self) -> str:
        here = f"{self.attempt}.{self.step}"
        return here if self.name is None else f"{here}.{self.newest}.{self.name}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None: it is none that we have made."""
        found = re.fullmatch(r"(\d{1,9})\.(\d{1,19})(?:\.(\d{1,19})\.(.{1,200}))?", text, re.ASCII | re.DOTALL)
        if found is None or not storable.is_storable(text):
            return None
        attempt, step, newest, name = found.groups()
        cursor = cls(int(attempt), int(step), int(newest or 0), name)
        return cursor if max(cursor.step, cursor.newest) <= LAST_STEP else None


class Curve(NamedTuple):
    name: str
    steps: Sequence[int]
    values: Sequence[float]


class Part(NamedTuple):
    """Curves, from a step on: all of them, or as many as a page holds."""

    curves: list[Curve]
    step: int
    begins_anew: bool
    """What the reader had before is void, as far as there was anything."""
    has_more: bool
    next_cursor: Cursor


def part_after(
    session: Session, job_id: str, names: Collection[str] | None, after: Cursor | None, max_points: int
) -> Part:
    """What the cursor's owner lacks of the job's curves (all of them, or `names`): each whole, or in `max_points`."""
    attempt = get_job(session, job_id).attempt
    if after is not None and after.attempt != attempt:
        after = None  # the curves were cut back to a checkpoint, and go on from there
    found, newest = _outline(session, job_id, names, after or Cursor(attempt))
    if after is not None and after.name is None and not found and after.step > 0:
        after = None  # cut back a moment ago, with the attempt that begins now still to come
        found, newest = _outline(session, job_id, names, Cursor(attempt))
    step = 0 if after is None else after.step
    if after is not None and after.name is not None:
        newest = after.newest
    page = pages.cut(
        (_read(session, job_id, name, step, max_points) for name in found),
        MOST_CURVES,
        lambda curve: curve.name,
        lambda curve: len(curve.name) + POINT_BYTES * len(curve.steps),
    )
    live = Cursor(attempt, newest)
    next_cursor = live if page.next_cursor is None else Cursor(attempt, step, newest, page.next_cursor)
    return Part(page.items, step, after is None, page.next_cursor is not None, next_cursor)


def rows_after(
    session: Session, job_id: str, names: Collection[str] | None, after: tuple[str, int] | None, limit: int
) -> list[tuple[str, int, float]]:
    """Every point by name and step, (name, step, value): so many of them, from after this one on."""
    get_job(session, job_id)
    rows: list[tuple[str, int, float]] = []
    name, step = after or (_next_name(session, job_id, names, None), -1)
    while name is not None and len(rows) < limit:
        points = _points(job_id, name, step + 1).limit(limit - len(rows))
        rows += [(name, step, value) for step, value in session.execute(points)]
        name, step = _next_name(session, job_id, names, name), -1
    return rows


def _outline(session: Session, job_id: str, names: Collection[str] | None, after: Cursor) -> tuple[list[str], int]:
    """The curves that follow the cursor, by name, and their newest step. One look at the index for each curve of the
    job, however long those are."""
    of_job = MetricPoint.job_id == job_id
    first = select(func.min(MetricPoint.name).label("name")).where(of_job).cte("every", recursive=True)
    following = select(func.min(MetricPoint.name)).where(of_job, MetricPoint.name > first.c.name).scalar_subquery()
    every = first.union_all(select(following).where(first.c.name.is_not(None)))
    last = select(func.max(MetricPoint.step)).where(of_job, MetricPoint.name == every.c.name).scalar_subquery()
    curves = select(every.c.name, last.label("last")).where(every.c.name.is_not(None))
    if names is not None:
        curves = curves.where(every.c.name.in_(_storable(names)))
    outline = curves.subquery()
    found = select(outline.c.name, func.max(outline.c.last).over()).where(outline.c.last >= after.step)
    if after.name is not None:
        found = found.where(outline.c.name > after.name)
    rows = session.execute(found.order_by(outline.c.name).limit(MOST_CURVES + 1)).all()
    return [name for name, _ in rows], rows[0][1] if rows else after.step


def _read(session: Session, job_id: str, name: str, step: int, most: int) -> Curve:
    points = _points(job_id, name, step)
    rows = session.execute(points.limit(most + 1)).all()
    if len(rows) > most:
        rows = decimate(session, _where(job_id, name, step), most)
    steps, values = zip(*rows, strict=True) if rows else ((), ())
    return Curve(name, steps, values)


def _next_name(session: Session, job_id: str, names: Collection[str] | None, after: str | None) -> str | None:
    if names is not None:
        return min((name for name in _storable(names) if after is None or name > after), default=None)
    found = select(func.min(MetricPoint.name)).where(MetricPoint.job_id == job_id)
    if after is not None:
        found = found.where(MetricPoint.name > after)
    return session.execute(found).scalar_one()


def _points(job_id: str, name: str, step: int) -> Select[int, float]:
    return select(MetricPoint.step, MetricPoint.value).where(*_where(job_id, name, step)).order_by(MetricPoint.step)


def _where(job_id: str, name: str, step: int) -> Sequence[ColumnElement[bool]]:
    return MetricPoint.job_id == job_id, MetricPoint.name == name, MetricPoint.step >= step


def _storable(names: Collection[str]) -> list[str]:
    return [name for name in names if storable.is_storable(name)]


def cut_back(session: Session, job_id: str, step: int) -> None:
    """What came after the checkpoint is about to happen again."""
    session.execute(
        delete(MetricPoint)
        .where(MetricPoint.job_id == job_id, MetricPoint.step > step)
        .execution_options(synchronize_session=False)
    )


def write(session: Session, row: Row[Any], metrics: Iterable[tuple[str, int, float]]) -> None:
    # One value for each (name, step); the last one said wins, in this batch as in the table.
    points = {(storable.clean(name), step): float(value) for name, step, value in metrics}
    if not points:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(MetricPoint)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[MetricPoint.job_id, MetricPoint.name, MetricPoint.step],
            set_={"value": statement.excluded.value, "at": statement.excluded.at},
        ),
        [
            {"job_id": row.id, "name": name, "step": step, "value": value, "at": row.updated_at}
            for (name, step), value in points.items()
        ],
    )
