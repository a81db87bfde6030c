"""The database's clock, the only one that decides anything: workers' and servers' clocks may be wrong.

Every function that needs the time takes `now`, for tests; None means the database's clock.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Dialect, bindparam, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware in Python, always UTC. SQLite keeps text that sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a time without a zone is a guess"
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _DatabaseClock(FunctionElement[datetime]):
    """This very moment, plus a number of seconds."""

    type = UtcDateTime()
    inherit_cache = True


class _StatementClock(_DatabaseClock):
    """The moment at which the statement began: one value for all of it, so that an index can serve it."""

    inherit_cache = True


@compiles(_DatabaseClock, "postgresql")
def _on_postgresql(element: _DatabaseClock, compiler: SQLCompiler, **kw: Any) -> str:
    # Never now(), which stands still in a transaction.
    reading = "statement_timestamp" if isinstance(element, _StatementClock) else "clock_timestamp"
    return f"({reading}() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(_DatabaseClock, "sqlite")
def _on_sqlite(element: _DatabaseClock, compiler: SQLCompiler, **kw: Any) -> str:
    # SQLite's clock counts milliseconds; the zeros make its text as long as SQLAlchemy's.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {compiler.process(element.clauses, **kw)} || ' seconds')"


def now_or(now: datetime | None) -> ColumnElement[datetime]:
    """`now` as SQL, to write down. After a wait for a row's lock it is the time after the wait."""
    return after(timedelta(0), now)


def after(delay: timedelta, now: datetime | None = None) -> ColumnElement[datetime]:
    """`now` + `delay` as SQL, to write down."""
    return _DatabaseClock(_seconds(delay)) if now is None else _literal(now + delay)


def to_compare(now: datetime | None, delay: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """`now` + `delay` as SQL, for a WHERE."""
    return _StatementClock(_seconds(delay)) if now is None else _literal(now + delay)


def _seconds(delay: timedelta) -> ColumnElement[float]:
    return bindparam(None, delay.total_seconds())


def _literal(now: datetime) -> ColumnElement[datetime]:
    return bindparam(None, now, UtcDateTime())


def read(session: Session) -> datetime:
    """What the database's clock says."""
    return session.execute(_READ).scalar_one()


_READ = select(now_or(None))
