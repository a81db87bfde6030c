"""From a URL to sessions: SQLite by default, PostgreSQL in production, both with the same promises.

db = Sessions(connect(settings.url))
with db.begin() as session: ...  # one transaction that may write; leaving the block commits
with db.read() as session: ...   # one snapshot; never waits for a writer, commits nothing
"""

import contextlib
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from jobs.database import storable
from jobs.database.postgresql import Breaker
from jobs.database.postgresql import Connection as PostgresConnection

# The database does not answer, or not in time; what was asked may be asked again.
# (InternalError: it has cut a transaction that was stopped in the middle, or has just become a standby.)
UNREACHABLE = (OperationalError, InterfaceError, InternalError, TimeoutError)

BUSY_SECONDS = 5
READERS = 16
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 15
SILENT_SECONDS = 5  # beyond the statement's: PostgreSQL itself says when that is over, if it says anything
LONG_SECONDS = 600  # for what belongs to many jobs
IDLE_SECONDS = 5  # within a transaction


class Sessions(sessionmaker[Session]):
    """`begin()` for a transaction that may write, `read()` for one that only looks."""

    def __init__(self, engine: Engine):
        # Rows stay readable after their transaction: routes show what they committed.
        super().__init__(engine, expire_on_commit=False)
        if engine.dialect.name == "postgresql":
            self._reader: Engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        else:
            self._reader = _sqlite(engine.url, connections=READERS, read_only=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One snapshot, which refuses writes: on SQLite without the write lock that `begin()` takes."""
        with self(bind=self._reader) as session:
            yield session

    @contextmanager
    def no_writes(self) -> Iterator[None]:
        """While the block lasts this process holds no lock of SQLite's: its writers have one connection, which is ours
        now. Raises TimeoutError where one of them keeps it for long. (PostgreSQL ends a transaction that lies idle by
        itself, see below.)"""
        engine = self.kw["bind"]
        with engine.connect() if engine.dialect.name == "sqlite" else contextlib.nullcontext():
            yield


def connect(url: str | URL) -> Engine:
    """An engine; no connection is made before it is needed."""
    url = make_url(url)
    return _sqlite(url, connections=1) if url.get_backend_name() == "sqlite" else _postgresql(url)


def _sqlite(url: URL, *, connections: int, read_only: bool = False) -> Engine:
    """One connection for all writers: they queue up for it in the order they came. Left to wait for SQLite's
    lock, which is sleeping and trying again, an unlucky one among many comes last for a second."""
    assert url.database, "SQLite needs a file"
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS},
        json_serializer=storable.to_json,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        _keep_private(Path(str(url.database)))
        connection.isolation_level = None  # the driver begins nothing; `begin` below does
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA query_only={int(read_only)}")
        # SQLite's own knows ASCII only.
        connection.create_function("lower", 1, lambda text: text and str(text).lower(), deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads and then writes fails at once, whatever the timeout, if another one wrote
        # in between. Taking the write lock first makes it wait its turn instead.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _keep_private(path: Path) -> None:
    """Nobody else on this machine has business with the secrets in it. What SQLite keeps beside it is as private."""
    with contextlib.suppress(OSError):  # it is another's, who will know
        facts = path.stat()
        mode = 0o600 if facts.st_size == 0 else facts.st_mode & 0o770
        if stat.S_IMODE(facts.st_mode) != mode:
            path.chmod(mode)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """The file remembers WAL. The first switch fails at once, not after the timeout, beside another process's."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        json_serializer=storable.to_json,
        pool_pre_ping=True,
        pool_timeout=CONNECT_SECONDS,
        connect_args={
            # A host that vanished is noticed within seconds, not after TCP's quarter of an hour.
            "tcp_user_timeout": STATEMENT_SECONDS * 1000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_SECONDS}s"
            # A process that was stopped in the middle of a transaction holds up no rescue for long.
            f" -c idle_in_transaction_session_timeout={IDLE_SECONDS}s",
        },
    )
    breaker = Breaker()

    @event.listens_for(engine, "do_connect")
    def connect(
        _: Dialect, __: ConnectionPoolEntry, args: tuple[Any, ...], named: dict[str, Any]
    ) -> PostgresConnection:
        timely = named | {"connect_timeout": CONNECT_SECONDS}
        connection = breaker.connect(lambda: PostgresConnection.connect(*args, **timely))
        connection.patience = lambda: CONNECT_SECONDS
        return connection

    @event.listens_for(engine, "checkin")
    def expect_at_once(connection: PostgresConnection | None, _: ConnectionPoolEntry) -> None:
        if connection is not None:  # in the pool it is asked nothing but whether it is there (`pool_pre_ping`)
            connection.patience = lambda: CONNECT_SECONDS

    @event.listens_for(engine, "checkout")
    def expect_in_time(connection: PostgresConnection, *_: object) -> None:
        connection.patience = lambda: STATEMENT_SECONDS + SILENT_SECONDS

    return engine


def allow_long_statements(connection: Connection, patience: float | None = LONG_SECONDS) -> None:
    """Until the transaction ends the server may take its time, and we are as patient; on SQLite nothing hurries."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.connection.driver_connection.patience = lambda: patience  # type: ignore[union-attr]
