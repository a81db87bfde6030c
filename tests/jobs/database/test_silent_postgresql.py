"""A PostgreSQL that hangs, restarts or says nothing, and a process that has no file to ask it with."""

import contextlib
import resource
import socket

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from jobs.database import engine as database


def test_postgresql_gives_up_on_a_statement_that_hangs(postgres_server):
    engine = database.connect(postgres_server)

    with engine.connect() as connection:
        limit = text("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
        assert int(connection.execute(limit).scalar_one()) == database.STATEMENT_SECONDS * 1_000
        assert connection.execute(text("SHOW timezone")).scalar_one() == "UTC"
        with pytest.raises(OperationalError, match="statement timeout"):
            connection.execute(text("SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)"))
    engine.dispose()


def test_a_postgresql_that_restarted_is_found_again(postgres_server):
    engine = database.connect(postgres_server)
    other = database.connect(postgres_server)
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1

    engine.dispose()
    other.dispose()


def test_a_postgresql_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(database, "CONNECT_SECONDS", 2)  # libpq's least
    with socket.create_server(("127.0.0.1", 0)) as mute:
        engine = database.connect(f"postgresql://nobody@127.0.0.1:{mute.getsockname()[1]}/x")

        with pytest.raises(OperationalError):  # the server never lets go of it
            engine.connect()


def test_a_process_without_files_has_a_database_that_does_not_answer_until_it_has_some(postgres_server):
    """It takes some to connect, and some to wait for an answer."""
    engine, before = database.connect(postgres_server), resource.getrlimit(resource.RLIMIT_NOFILE)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            with pytest.raises(OperationalError):
                database.connect(postgres_server).connect()
            with contextlib.suppress(OperationalError):
                connection.execute(text("SELECT 1"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
