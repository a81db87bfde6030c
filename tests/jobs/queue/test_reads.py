"""What is read of many jobs: an index has all that a question about the queue asks, so that no wide row is read."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from jobs.job import get_job
from jobs.kinds import Kind
from jobs.queue import find, place
from jobs.queue.find import Filter
from jobs.states import State
from tests.support.offers import ENOUGH


@contextmanager
def plans_of(session, asks):
    """The plans, by the database itself, of all statements about jobs whose text `asks` takes."""
    connection, found, plans = session.connection(), [], []

    def keep(conn, cursor, statement, parameters, context, executemany):
        if asks(statement):
            found.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    yield plans
    event.remove(connection, "before_cursor_execute", keep)
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    if connection.dialect.name == "postgresql":  # of a small table it would rather read all
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        connection.execute(text("SET LOCAL enable_sort = off"))
    for statement, parameters in found:
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
        plans.append("\n".join(str(row[-1]) for row in rows))


@pytest.mark.parametrize("kind", Kind)
def test_the_line_and_its_first_job_are_told_by_an_index_alone_in_order(db, add, kind):
    job_id = add()
    with db.read() as session:
        job = get_job(session, job_id)
        with plans_of(session, lambda statement: "waits_for_job_id IS NULL" in statement) as plans:
            place.first(session, ENOUGH, kind)
            place.waiting(session, [job])

    assert len(plans) == 2
    for plan in plans:
        assert "COVERING INDEX jobs_to_claim" in plan or "Index Only Scan using jobs_to_claim" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


@pytest.mark.parametrize("which", [Filter([State.SUCCEEDED]), Filter([State.QUEUED], mode="ingest")])
def test_the_newest_of_a_state_come_in_the_order_of_an_index(db, add, which):
    add()
    with db.read() as session, plans_of(session, lambda statement: "ORDER BY" in statement) as plans:
        find.list_jobs(session, which=which)

    for plan in plans:
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan
    assert plans
