"""The promises of both databases: snapshots, timeouts, and tables that are brought up to date exactly once."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from jobs.database import engine as database
from jobs.database import migrate
from jobs.job import get_job
from jobs.kinds import Kind
from jobs.queue import find, submit
from jobs.tables import Base
from kd.spec import parse

ROOT = Path(__file__).parents[3]
SPEC = parse({"mode": "train", "config": {}})


def test_who_reads_waits_for_nobody_and_sees_only_what_is_committed(db, add):
    add()

    with db.begin() as writing:
        submit.add_job(writing, SPEC)
        with db.read() as reading:  # while the other one is in the middle of it
            seen = len(find.list_jobs(reading).items)

    assert seen == 1


def test_a_reader_sees_one_moment_of_the_database(db, add):
    with db.read() as reading:
        before = find.list_jobs(reading).items
        add()
        after = find.list_jobs(reading).items

    assert before == after == []


def test_a_reader_cannot_write_by_mistake(db, add):
    add()

    with db.read() as reading, pytest.raises(DBAPIError, match=r"read-?only"):
        submit.add_job(reading, SPEC)

    add()  # the connection went back to the pool and may write again


def test_writers_take_turns(db):
    """Read, then write, in two transactions at once: the classic way to get "database is locked" at once."""
    both, failures = threading.Barrier(2), []

    def write() -> None:
        both.wait()
        try:
            for _ in range(10):
                with db.begin() as session:
                    find.list_jobs(session)
                    submit.add_job(session, SPEC)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failures == []
    with db.read() as session:
        assert len(find.list_jobs(session, limit=100).items) == 20


def test_sqlite_survives_a_power_cut_and_waits_for_others(tmp_path):
    engine = database.connect(f"sqlite:///{tmp_path / 'new folder' / 'a.db'}")

    with engine.connect() as connection:
        ask = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in PRAGMAS}
    engine.dispose()

    assert ask == PRAGMAS


BUSY_MILLISECONDS = database.BUSY_SECONDS * 1_000
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": BUSY_MILLISECONDS}  # 2 is FULL


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_every_spelling_of_postgresql_is_understood(url):
    assert database.connect(url).url.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h/d"


def test_the_tables_can_be_made_removed_and_made_again(empty_database_url):
    engine = database.connect(empty_database_url)
    tables = sorted([*Base.metadata.tables, "alembic_version"])
    assert not migrate.is_current(database.Sessions(engine))

    migrate.upgrade(engine)
    assert sorted(inspect(engine).get_table_names()) == tables
    assert migrate.is_current(database.Sessions(engine))

    migrate.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert not migrate.is_current(database.Sessions(engine))

    migrate.upgrade(engine)
    assert sorted(inspect(engine).get_table_names()) == tables
    assert migrate.is_current(database.Sessions(engine))
    engine.dispose()


def test_jobs_of_an_older_version_keep_what_they_need(empty_database_url):
    engine = database.connect(empty_database_url)
    migrate.upgrade(engine, "0001")
    config = {"resources": {"gpus": 4}, "teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}
    row = {"id": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRX", "mode": "train", "priority": 0, "state": "queued", "attempt": 0}
    row |= {"stalls": 0, "checkpoint_step": -1, "events_seq": 1, "now": "2026-01-15 12:00:00.000000"}
    row |= {"empty": "{}", "spec": json.dumps({"mode": "train", "config": config})}
    columns = "id, mode, labels, spec, resolved_spec, priority, state, progress, latest_metrics, attempt, stalls"
    values = ":id, :mode, :empty, :spec, :spec, :priority, :state, :empty, :empty, :attempt, :stalls"
    more = ("checkpoint_step, events_seq, created_at, updated_at", ":checkpoint_step, :events_seq, :now, :now")
    with engine.begin() as connection:
        for each in (row, row | {"id": f"{row['id'][:-1]}Y", "mode": "ingest"}):
            connection.execute(text(f"INSERT INTO jobs ({columns}, {more[0]}) VALUES ({values}, {more[1]})"), each)

    migrate.upgrade(engine)

    with database.Sessions(engine).read() as session:
        job, ingest = get_job(session, row["id"]), get_job(session, f"{row['id'][:-1]}Y")
    engine.dispose()
    assert (job.needs_gpus, job.teacher_job_id, job.keep_last) == (4, "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW", 1)
    assert (job.kind, ingest.kind) == (Kind.DISTILLATION, Kind.LIGHT)


def test_a_second_upgrade_changes_nothing(db, engine, add, job):
    job_id = add()

    migrate.upgrade(engine)

    assert job(job_id).id == job_id


def test_the_migrations_make_exactly_the_tables_that_the_models_describe(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_constraints_and_conditions_as_the_models(empty_database_url):
    """What Alembic's comparison does not look at."""
    engine = database.connect(empty_database_url)

    migrate.upgrade(engine)
    migrated = {table: _facts(engine, table) for table in Base.metadata.tables}
    migrate.downgrade(engine, "base")
    Base.metadata.create_all(engine)
    described = {table: _facts(engine, table) for table in Base.metadata.tables}
    engine.dispose()

    assert migrated == described


def _facts(engine: Engine, table: str) -> dict:
    there = inspect(engine)
    with engine.connect() as connection:
        indexes = connection.exec_driver_sql(INDEXES[engine.dialect.name].format(table)).scalars().all()
    return {
        "primary key": there.get_pk_constraint(table),
        "foreign keys": sorted(there.get_foreign_keys(table), key=lambda key: key["name"]),
        "checks": [check["name"] for check in there.get_check_constraints(table)],
        # Whatever their order: a later migration adds its columns at the end.
        "columns": {column["name"]: (str(column["type"]), column["nullable"]) for column in there.get_columns(table)},
        "indexes": sorted(indexes),
    }


INDEXES = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = '{}'",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE tablename = '{}'",
}


UPGRADERS = """
import os
import sys
from jobs.database import engine as database
from jobs.database import migrate

database.BUSY_SECONDS = 600  # how long the last of them waits for SQLite's lock is the machine's affair

url, processes = sys.argv[1], int(sys.argv[2])
start, go = os.pipe()
if all(os.fork() for _ in range(processes)):
    os.close(go)
    sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(processes)))
os.close(go)
os.read(start, 1)
engine = database.connect(url)
migrate.upgrade(engine)
assert migrate.is_current(database.Sessions(engine))
"""


def test_four_processes_may_upgrade_at_the_same_moment(empty_database_url):
    upgraders = subprocess.run(
        [sys.executable, "-c", UPGRADERS, empty_database_url, "4"], cwd=ROOT, capture_output=True, text=True
    )

    assert (upgraders.returncode, upgraders.stderr) == (0, "")


def test_a_migration_that_fails_leaves_no_half_of_it(empty_database_url):
    engine = database.connect(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE files (something INTEGER)")  # the last table of the first revision

    with pytest.raises(DBAPIError, match="exists"):
        migrate.upgrade(engine)

    assert [table for table in inspect(engine).get_table_names() if table != "alembic_version"] == ["files"]
    assert not migrate.is_current(database.Sessions(engine))
    engine.dispose()


def test_a_database_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "stillhouse.db"

    def modes_while_it_is_written() -> set[int]:
        engine = database.connect(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS secrets (secret TEXT)")
            connection.exec_driver_sql("INSERT INTO secrets VALUES ('whsec_')")
            modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        engine.dispose()
        return modes

    assert modes_while_it_is_written() == {0o600}
    path.chmod(0o664)  # as an earlier version made it, in a folder that a group shares
    assert modes_while_it_is_written() == {0o660}
