"""The tables' history, told by Alembic; `jobs.database.migrate.upgrade` runs it."""
