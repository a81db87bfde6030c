"""How Alembic reaches the database: on the connection that `jobs.database.migrate` locked, or on one of its own."""

from typing import Any, Literal

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from jobs import logs
from jobs.database import migrate
from jobs.database.engine import connect
from jobs.settings import Settings
from jobs.tables import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=_frozen,
    )
    context.run_migrations()


def _frozen(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A revision names plain column types, so that our own may change after it."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    url = connect(Settings().url).url  # in SQLAlchemy's spelling; nobody connects
    if url.get_backend_name() == "sqlite":
        raise CommandError(
            "SQLite changes a table by copying it, which takes a look at the table: migrate without --sql. `kd serve` "
            "and `kd work` do it by themselves."
        )
    context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:  # the `alembic` command
    logs.configure(Settings().log_level)
    engine = connect(Settings().url)
    with engine.begin() as connection:
        migrate.lock_out_other_migrations(connection)
        run(connection)
    engine.dispose()
