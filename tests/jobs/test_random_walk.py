"""Anything may happen in any order: dead workers, zombies, crashes, cancels. The truth stays the truth."""

import contextlib
import itertools
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobs import leases, requests, store
from jobs.errors import LeaseLost, NotAllowed
from jobs.leases import Claim, NewFile
from jobs.models import FileKind, Job
from jobs.states import FINAL, MOVES, State
from kd.spec import parse

SPEC = parse({"mode": "train", "config": {}})
TTL = timedelta(seconds=30)


class Walk:
    """Random deeds on a real database beside a model that is too simple to be wrong: who owns which job."""

    def __init__(self, db, seed: int, now):
        self.db, self.random, self.now = db, random.Random(seed), now
        self.jobs: list[str] = []
        self.claims: list[Claim] = []
        self.owner: dict[str, Claim | None] = {}
        self.refused = 0

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        self.now += timedelta(seconds=self.random.choice([0, 1, 5, 20]))
        deed = self.random.choices(
            [self.add, self.claim, self.write, self.finish, self.cancel, self.rescue], [2, 4, 10, 4, 1, 2]
        )[0]
        deed()

    def add(self) -> None:
        with self.db.begin() as session:
            self.jobs.append(store.add_job(session, SPEC, now=self.now, priority=self.random.randint(-1, 1)).id)

    def claim(self) -> None:
        job_id = self.random.choice([None, None, *self.jobs])
        worker = self.random.choice(["a", "b"])
        with self.db.begin() as session:
            claim = leases.claim(session, worker=worker, ttl=TTL, job_id=job_id, now=self.now)
        if claim is not None:
            assert self.owner.get(claim.job_id) is None, "two workers own one job"
            self.owner[claim.job_id] = claim
            self.claims.append(claim)

    def write(self) -> None:
        step = self.random.randint(0, 1_000)
        file = NewFile(FileKind.RESUME, "r.pt", f"r{self.random.random()}", 1, "0" * 64)
        said = {"events": [{"type": "noted", "data": {}}], "metrics": [("loss", step, 0.5)]}
        facts = {"phase": "student", "epoch": 0, "best": False, "metrics": {}, "files": [file]}
        self.as_a_worker(
            self.random.choice(
                [
                    lambda session, claim: leases.renew(session, claim, ttl=TTL, now=self.now),
                    lambda session, claim: leases.record(session, claim, now=self.now, **said),
                    lambda session, claim: leases.publish(session, claim, step=step, now=self.now, **facts),
                ]
            )
        )

    def finish(self) -> None:
        state, keep = self.random.choice(sorted(FINAL)), self.random.choice([True, False])
        done = self.as_a_worker(
            self.random.choice(
                [
                    lambda session, claim: leases.release(session, claim, state, now=self.now),
                    lambda session, claim: leases.requeue(session, claim, keep_stall=keep, max_stalls=3, now=self.now),
                ]
            )
        )
        if done is not None:
            self.owner[done.job_id] = None

    def as_a_worker(self, write: Callable) -> Claim | None:
        """One of all workers that ever had a claim, zombies too, writes; only the owner may."""
        if not self.claims:
            return None
        claim = self.random.choice(self.claims[-6:])
        try:
            with self.db.begin() as session:
                write(session, claim)
        except LeaseLost:
            assert self.owner[claim.job_id] is not claim, "the owner was refused"
            self.refused += 1
            return None
        assert self.owner[claim.job_id] is claim, "a zombie wrote"
        return claim

    def cancel(self) -> None:
        if self.jobs:
            with contextlib.suppress(NotAllowed), self.db.begin() as session:
                requests.cancel(session, self.random.choice(self.jobs[-10:]), self.now)

    def rescue(self) -> None:
        with self.db.begin() as session:
            for job_id, _ in leases.rescue_expired(session, max_stalls=3, now=self.now):
                assert self.owner[job_id] is not None, "rescued a job that nobody had"
                self.owner[job_id] = None

    def work_off(self) -> None:
        """Every worker dies; then a good one comes."""
        self.now += 10 * TTL
        self.rescue()
        while True:
            with self.db.begin() as session:
                claim = leases.claim(session, worker="good", ttl=TTL, now=self.now)
                if claim is None:
                    return
                leases.release(session, claim, State.SUCCEEDED, now=self.now)

    def look_back(self) -> None:
        with self.db.read() as session:
            for job_id in self.jobs:
                job: Job = store.get_job(session, job_id)
                events = store.events_after(session, job_id, 0, 100_000)
                told = [State(event.data["state"]) for event in events if event.type == "state"]
                assert job.state in FINAL, "a job was stranded"
                assert [event.seq for event in events] == list(range(1, job.events_seq + 1))
                assert told[0] is State.QUEUED
                assert told[-1] is job.state
                assert all(after in MOVES[before] for before, after in itertools.pairwise(told))
                assert told.count(State.RUNNING) == job.attempt
                assert (job.lease_owner, job.lease_expires_at, job.phase) == (None, None, None)


@pytest.mark.parametrize("seed", range(3))
def test_no_job_is_lost_stolen_or_finished_twice(db, NOON, seed):
    walk = Walk(db, seed, NOON)

    walk.go(250)
    walk.work_off()

    walk.look_back()
    assert walk.refused > 20, "there were no zombies: nothing was shown"


def test_the_walk_would_notice_if_there_were_no_fence(db, NOON, monkeypatch):
    monkeypatch.setattr(leases, "_fence", lambda claim: (Job.id == claim.job_id,))
    walk = Walk(db, 0, NOON)

    with pytest.raises(AssertionError, match="a zombie wrote"):
        walk.go(250)
