"""The tables' history, told by Alembic; `jobs.db.upgrade` runs it."""
