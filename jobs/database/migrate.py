"""Bring the tables up to date, one process at a time."""

import functools
from collections.abc import Callable
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from jobs.database.engine import Sessions, allow_long_statements, connect

MIGRATION_LOCK = 7_455_110_468  # any number that no one else on the server uses


def upgrade(database: Engine | URL | str, revision: str = "head") -> None:
    """Bring the tables up to date; safe when several processes do it at once."""
    _migrate(command.upgrade, database, revision)


def downgrade(database: Engine | URL | str, revision: str) -> None:
    """Go back to an older revision; "base" removes everything."""
    _migrate(command.downgrade, database, revision)


def is_current(database: Sessions) -> bool:
    """Whether the tables are those that this code was written for. Like all readers it waits for no writer."""
    with database.read() as session:
        there = set(MigrationContext.configure(session.connection()).get_current_heads())
    return there == _newest()


@functools.cache
def _newest() -> set[str]:
    return set(ScriptDirectory.from_config(alembic_config()).get_heads())


def alembic_config() -> Config:
    """Alembic's configuration without its ini file, so that an installed package can migrate too."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    return config


def _migrate(step: Callable[[Config, str], None], database: Engine | URL | str, revision: str) -> None:
    engine = database if isinstance(database, Engine) else connect(database)
    try:
        config = alembic_config()
        # Everything in one transaction under a lock; whoever waited for it finds nothing left to do.
        with engine.begin() as connection:
            lock_out_other_migrations(connection)
            config.attributes["connection"] = connection
            step(config, revision)
    finally:
        if engine is not database:
            engine.dispose()


def lock_out_other_migrations(connection: Connection) -> None:
    """Held until the transaction ends. On SQLite its BEGIN IMMEDIATE has done it already."""
    if connection.dialect.name == "postgresql":
        # A migration may take, and wait for, as long as it needs.
        allow_long_statements(connection, patience=None)
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
