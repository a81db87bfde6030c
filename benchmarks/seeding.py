"""Fill a database with the past of a busy server: jobs that have ended, and all that they said.

For each job 10 events, 2 checkpoints, 3 files and 100 points of 5 curves. The newest jobs, a tenth but at most 500,
wait and have said nothing; the points that they lack the others have. No file is on disk.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Engine,
    Integer,
    Select,
    String,
    case,
    create_engine,
    func,
    insert,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.engine import make_url

from jobs import ids
from jobs.database import migrate
from jobs.states import FINAL, State
from jobs.tables import Checkpoint, Event, File, FileKind, Job, MetricPoint
from kd.spec import parse

SPEC = {"mode": "train", "config": {"dataset": "digits", "student": {"arch": "mlp"}, "teacher": {"arch": "cnn_small"}}}
RESULT = {"metrics": {"student.test.top1": 0.97, "gain": 0.01}, "best_checkpoint": None, "seconds": {"student": 12.5}}
ERROR = {"code": "diverged", "message": "The loss is no number.", "hint": "Lower config.lr.", "retryable": False}
CURVES = ("student.accuracy", "student.grad_norm", "student.images_per_second", "student.loss", "student.lr")
EVENTS, CHECKPOINTS, POINTS = 10, 2, 100
TOGETHER = 5_000

# 0, 1, 2 … beside every job; see `_repeated`.
NUMBER: ColumnElement[int] = literal_column("numbers.number", Integer())


def seed(url: str, count: int) -> None:
    """Make the tables and fill them with `count` jobs."""
    migrate.upgrade(url)
    queued = min(count // 10, 500)
    points = -(-POINTS * count // (count - queued))
    jobs = list(_jobs(count, queued))
    engine = _in_haste(url)
    try:
        with engine.begin() as connection:
            for start in range(0, count, TOGETHER):
                connection.execute(insert(Job), jobs[start : start + TOGETHER])
            connection.execute(insert(Event).from_select(*_submitted()))
            for model, columns, rows in (
                (Event, _events(), EVENTS),
                (MetricPoint, _metric_points(points), points),
                (Checkpoint, _checkpoints(), CHECKPOINTS),
                (File, _files(), CHECKPOINTS + 1),
            ):
                connection.execute(insert(model).from_select(list(columns), _repeated(columns, rows)))
        _settle(engine)
    finally:
        engine.dispose()


def _in_haste(url: str) -> Engine:
    """An engine that checks no foreign key and does not wait for the disk."""
    if make_url(url).get_backend_name() == "sqlite":
        return create_engine(url)  # SQLite checks only if it is asked to
    options = "-c session_replication_role=replica -c synchronous_commit=off -c timezone=UTC"
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), connect_args={"options": options})


def _settle(engine: Engine) -> None:
    """What has happened by itself in a database that took months to get there."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":  # by autovacuum and the checkpointer
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        else:  # by those who write; nobody there ever runs ANALYZE
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


# -- the jobs, the newest last ----------------------------------------------------------------------------


def _jobs(count: int, queued: int) -> Iterator[dict[str, Any]]:
    began = datetime.now(UTC) - timedelta(minutes=count)
    resolved = parse(SPEC).model_dump(mode="json")
    for number in range(count):
        at = began + timedelta(minutes=number)
        job = {
            "id": ids.new("job", at),
            "mode": "train",
            "name": f"run {number}",
            "labels": {"team": f"team-{number % 20}"},
            "spec": SPEC,
            "resolved_spec": resolved,
            "created_at": at,
        }
        yield job | (_ended(number, at) if number < count - queued else _waiting(at))


def _ended(number: int, at: datetime) -> dict[str, Any]:
    state = State.SUCCEEDED if number % 5 else (State.FAILED, State.CANCELLED)[number % 2]
    return {
        "state": state,
        "phase": "student",
        "progress": {"fraction": 1.0, "phase": "student", "epoch": 40, "epochs": 40, "step": 960},
        "latest_metrics": dict.fromkeys(CURVES, 0.5),
        "error": ERROR if state is State.FAILED else None,
        "result": RESULT if state is State.SUCCEEDED else None,
        "attempt": 1,
        "checkpoint_step": 960,
        "run_seconds": 45.0,
        "events_seq": EVENTS,
        "updated_at": at + timedelta(seconds=50),
        "started_at": at + timedelta(seconds=5),
        "finished_at": at + timedelta(seconds=50),
    }


def _waiting(at: datetime) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "phase": None,
        "progress": {},
        "latest_metrics": {},
        "error": None,
        "result": None,
        "attempt": 0,
        "checkpoint_step": -1,
        "run_seconds": 0.0,
        "events_seq": 1,
        "updated_at": at,
        "started_at": None,
        "finished_at": None,
    }


# -- what belongs to a job, as SQL over its row ---------------------------------------------------------------

Columns = dict[str, Any]


def _repeated(columns: Columns, rows: int) -> Select[Any]:
    """So many rows for each job that has ended."""
    numbers = select(literal(0).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < rows - 1))
    # An outer join, since SQLite takes its left side first: rows come in the order of their primary key.
    return select(*columns.values()).select_from(Job.__table__.outerjoin(numbers, true())).where(Job.state.in_(FINAL))


def _submitted() -> tuple[list[str], Select[Any]]:
    """The first and only event of those who wait."""
    columns: Columns = {
        "job_id": Job.id,
        "seq": literal(1),
        "type": literal("state"),
        "attempt": literal(0),
        "at": Job.created_at,
        "data": literal({"state": "queued"}, JSON),
    }
    return list(columns), select(*columns.values()).where(Job.state == State.QUEUED)


def _events() -> Columns:
    is_move = NUMBER.in_([0, EVENTS - 1])
    return {
        "job_id": Job.id,
        "seq": NUMBER + 1,
        "type": case((is_move, "state"), (NUMBER == 1, "claimed"), else_="evaluated"),
        "attempt": literal(1),
        "at": Job.started_at,
        "data": literal({"phase": "student", "step": 480, "metrics": {"top1": 0.5, "loss": 1.5}}, JSON),
    }


def _metric_points(points: int) -> Columns:
    steps = -(-points // len(CURVES))
    return {
        "job_id": Job.id,
        "name": case(dict(enumerate(CURVES)), value=NUMBER // steps),
        "step": NUMBER % steps * 50,
        "value": literal(1.0) / (NUMBER + 1),
        "at": Job.finished_at,
    }


def _checkpoints() -> Columns:
    return {
        "id": _id("ckpt_"),
        "job_id": Job.id,
        "attempt": literal(1),
        "phase": literal("student"),
        "step": (NUMBER + 1) * 480,
        "epoch": (NUMBER + 1) * 20,
        "best": NUMBER == 0,
        "pinned": literal(False),
        "metrics": literal({"student.validation.top1": 0.97}, JSON),
        "created_at": Job.finished_at,
    }


def _files() -> Columns:
    """A student for each checkpoint, and the report."""
    is_student = NUMBER < CHECKPOINTS
    return {
        "id": _id("file_"),
        "job_id": Job.id,
        "checkpoint_id": case((is_student, _id("ckpt_")), else_=None),
        "kind": case((is_student, str(FileKind.STUDENT)), else_=str(FileKind.ARTIFACT)),
        "name": case((is_student, "student.safetensors"), else_="report.json"),
        "path": "jobs/" + Job.id,
        "size": literal(500_000),
        "sha256": literal("0" * 64),
        "created_at": Job.finished_at,
    }


def _id(prefix: str) -> ColumnElement[str]:
    """The job's id with another last character is as unique: no two of our jobs are of one millisecond."""
    return literal(prefix) + func.substr(Job.id, 5, 25) + NUMBER.cast(String)
