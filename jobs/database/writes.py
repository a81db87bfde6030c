"""A database that answers, and takes no writes: how that is noticed, and what it is called."""

import contextlib
import sqlite3

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from jobs.database.engine import Sessions
from jobs.errors import DatabaseFull, DatabaseReadOnly

# SQLite's names and PostgreSQL's codes. To SQLite a limit on the size of files, or a user's quota, is a failed write.
FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "53100"}
READ_ONLY = {"SQLITE_READONLY", "25006"}


def refusal(error: DBAPIError) -> DatabaseFull | DatabaseReadOnly | None:
    """What the error means, if it means one of these."""
    return _refusal(getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None))


def find_refusal(db: Sessions) -> DatabaseFull | DatabaseReadOnly | None:
    """Whether it would take a write now. Waits for no writer: where there is one, that one will hear."""
    engine = db.kw["bind"]
    if engine.dialect.name == "sqlite":
        return _write_nothing_new(engine.url)
    with db.read() as session:
        return DatabaseReadOnly() if session.execute(_IS_STANDBY).scalar_one() else None


_IS_STANDBY = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean")


def _write_nothing_new(url: URL) -> DatabaseFull | DatabaseReadOnly | None:
    try:
        opened = contextlib.closing(sqlite3.connect(str(url.database), timeout=0, isolation_level=None))
        with opened as connection:
            connection.execute("PRAGMA synchronous=NORMAL")  # what says nothing new may be lost
            connection.execute("UPDATE alembic_version SET version_num = version_num")
    except sqlite3.OperationalError as error:
        return _refusal(error.sqlite_errorname)
    return None


def _refusal(name: str | None) -> DatabaseFull | DatabaseReadOnly | None:
    return DatabaseFull() if name in FULL else DatabaseReadOnly() if name in READ_ONLY else None
