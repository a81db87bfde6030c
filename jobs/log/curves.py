"""A job's curves: one value for each name and step."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.database import storable
from jobs.job import get_job
from jobs.tables import MetricPoint


def metric_series(
    session: Session, job_id: str, names: Collection[str] | None = None
) -> dict[str, list[tuple[int, float]]]:
    """The job's curves by name (all of them, or `names`): (step, value), in the order of steps."""
    get_job(session, job_id)
    points = select(MetricPoint.name, MetricPoint.step, MetricPoint.value).where(MetricPoint.job_id == job_id)
    if names is not None:
        points = points.where(MetricPoint.name.in_([name for name in names if storable.is_storable(name)]))
    series: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in session.execute(points.order_by(MetricPoint.name, MetricPoint.step)):
        series.setdefault(name, []).append((step, value))
    return series


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
