"""A worker that lost its lease changes nothing, whatever it tries."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobs.endings import Code, Ending
from jobs.errors import LeaseLost
from jobs.files.retention import NewFile
from jobs.queue import leases, recording
from jobs.queue.fence import Claim
from jobs.states import State
from jobs.tables import Base, FileKind


def a_resume(claim: Claim) -> NewFile:
    return NewFile(FileKind.RESUME, "resume.pt", f"jobs/{claim.job_id}/attempt-{claim.attempt}/r.pt", 1, "00" * 32)


def an_artifact(claim: Claim) -> NewFile:
    return replace(a_resume(claim), kind=FileKind.ARTIFACT, name="report.json")


WRITES: dict[str, Callable[[Any, Claim], Any]] = {
    "renew": lambda session, claim: leases.renew(session, claim, ttl=timedelta(seconds=30)),
    "record": lambda session, claim: recording.record(
        session, claim, events=[{"type": "noted", "data": {}}], metrics=[("loss", 3, 0.1)], phase="student"
    ),
    "record progress": lambda session, claim: recording.record(session, claim, safe_fraction=0.5),
    "record nothing": lambda session, claim: recording.record(session, claim),
    "expect": lambda session, claim: recording.expect(session, claim, {"total_seconds": 60.0}),
    "publish": lambda session, claim: recording.publish(
        session, claim, phase="student", step=9, epoch=1, best=True, metrics={}, fraction=0.1, files=[a_resume(claim)]
    ),
    "publish_file": lambda session, claim: recording.publish_file(session, claim, an_artifact(claim)),
    "discard_resume": lambda session, claim: recording.discard_resume(session, claim),
    "release": lambda session, claim: leases.release(session, claim, State.SUCCEEDED, result={}),
    "requeue": lambda session, claim: leases.requeue(session, claim, keep_stall=True, max_stalls=3),
}


def test_every_function_that_takes_a_claim_is_in_this_list():
    takes_claim = {
        name
        for module in (leases, recording)
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__
        if not name.startswith("_") and "claim" in getattr(function, "__annotations__", {})
    }

    assert takes_claim == {name.partition(" ")[0] for name in WRITES}


SITUATIONS = ("rescued", "taken over", "taken over by a worker of the same name", "released", "not the owner")


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_lease_changes_nothing(db, add, claim, publish, rescue, write, situation, NOON, TTL):
    add()
    slow = claim("slow")
    publish(slow, step=5)
    if situation == "not the owner":
        slow = replace(slow, worker="somebody else")
    elif situation == "released":
        with db.begin() as session:
            leases.release(session, slow, State.FAILED, error=Ending(Code.DIVERGED, "m", "h"))
    else:
        rescue(NOON + 2 * TTL)
    if situation.startswith("taken over"):
        assert claim("slow" if situation.endswith("name") else "quick", now=NOON + 2 * TTL) is not None
    before = everything(db)

    with db.begin() as session, pytest.raises(LeaseLost, match=slow.job_id):
        WRITES[write](session, slow)

    assert everything(db) == before


@pytest.mark.parametrize("write", WRITES)
def test_the_owner_may_do_all_of_it(db, add, claim, publish, write):
    add()
    held = claim()
    publish(held, step=5)

    with db.begin() as session:
        WRITES[write](session, held)


def everything(db) -> dict[str, list[tuple]]:
    with db.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
        }
