"""`alembic upgrade head --sql`: for a database that only its administrators may change."""

import io
import json

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError

from jobs.database import migrate

# Whatever makes one schema another, defaults and conditions included.
SCHEMA = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT * FROM alembic_version",
)
JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRX"
CONFIGS = {
    "queued": {"resources": {"gpus": 4}, "teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}},
    "running": {"resources": {"gpus": 1}},
    "succeeded": {"resources": {"gpus": 4}},
}


def sql(what: str, revisions: str) -> str:
    config = migrate.alembic_config()
    config.output_buffer = io.StringIO()
    getattr(command, what)(config, revisions, sql=True)
    return config.output_buffer.getvalue()


@pytest.fixture
def offline(empty_postgres, monkeypatch):
    """A database that only ever hears what was printed."""
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/asked-nothing")
    with psycopg.connect(empty_postgres.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def schema(connection):
    return [sorted(map(str, connection.execute(query).fetchall())) for query in SCHEMA]


def test_what_is_printed_makes_the_schema_that_a_migration_makes(offline, empty_postgres):
    offline.execute(sql("upgrade", "head"))
    printed = schema(offline)

    offline.execute(sql("downgrade", "head:base"))
    assert [rows for rows in schema(offline)[:3] if any("alembic" not in row for row in rows)] == []
    offline.execute("DROP TABLE alembic_version")
    migrate.upgrade(empty_postgres)

    assert printed == schema(offline)


def test_jobs_that_are_there_keep_what_they_need(offline):
    offline.execute(sql("upgrade", "0001"))
    columns = "mode, labels, spec, resolved_spec, priority, progress, latest_metrics, attempt, stalls, checkpoint_step"
    values = "'train', '{}', '{}', %s, 0, '{}', '{}', 0, 0, -1, 1, now(), now()"
    for number, (state, config) in enumerate(CONFIGS.items()):
        offline.execute(
            f"INSERT INTO jobs (id, state, {columns}, events_seq, created_at, updated_at) VALUES (%s, %s, {values})",
            (f"{JOB[:-1]}{number}", state, json.dumps({"mode": "train", "config": config})),
        )

    offline.execute(sql("upgrade", "0001:head"))

    found = offline.execute("SELECT state, needs_gpus, teacher_job_id FROM jobs ORDER BY id").fetchall()
    assert found == [("queued", 4, "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"), ("running", 0, None), ("succeeded", 0, None)]


def test_of_sqlite_which_copies_tables_nothing_can_be_printed(monkeypatch, tmp_path):
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", f"sqlite:///{tmp_path / 'a.db'}")

    with pytest.raises(CommandError, match="without --sql"):
        sql("upgrade", "head")
