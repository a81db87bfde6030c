"""What users ask of the queue: jobs, under the teacher of another one too, their end, a pause."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule
from sqlalchemy.exc import IntegrityError

from jobs.envelope import Envelope, Limits
from jobs.errors import InUse, JobNotFound, NotAllowed, SpecRefused
from jobs.queue import requests, submit
from jobs.queue.delete import delete_job
from jobs.states import FINAL, State
from jobs.teachers import lending
from kd.spec import parse
from tests.jobs.queue.model import Known
from tests.jobs.queue.world import FEW, JOBS, QUEUE_SECONDS, World

SPEC = parse({"mode": "train", "config": {}})


class Users(World):
    @precondition(lambda self: self.alive < FEW)
    @rule(target=JOBS, priority=st.integers(-1, 1), patient=st.sampled_from([True, True, True, False]))
    def submit(self, priority: int, patient: bool) -> str:
        self.now += timedelta(milliseconds=1)
        limits = Limits(max_queue_seconds=None if patient else QUEUE_SECONDS)
        with self.db.begin() as session:
            envelope = Envelope(priority=priority, limits=limits)
            job_id = submit.add_job(session, SPEC, envelope=envelope, now=self.now).id
        start_by = None if patient else self.now + timedelta(seconds=QUEUE_SECONDS)
        self.known[job_id] = Known(order=(-priority, next(self.numbers)), start_by=start_by)
        return job_id

    @precondition(lambda self: self.alive < FEW)
    @rule(target=JOBS, lender=JOBS, patient=st.booleans())
    def submit_under_the_teacher_of(self, lender: str, patient: bool):
        self.now += timedelta(milliseconds=1)
        spec = parse({"mode": "train", "config": {"teacher": {"job": lender}}})
        limits = Limits(max_queue_seconds=None if patient else QUEUE_SECONDS)
        known = self.known.get(lender)
        try:
            with self.db.begin() as session:
                waits_for = lending.check(session, spec, Path())
                job_id = submit.add_job(
                    session, spec, envelope=Envelope(limits=limits), waits_for=waits_for, now=self.now
                ).id
        except SpecRefused:
            assert known is None or (known.state in FINAL and not known.has_teacher), "refused without reason"
            return multiple()
        assert (waits_for is not None) == (not known.has_teacher)
        start_by = None if patient else self.now + timedelta(seconds=QUEUE_SECONDS)
        place = (0, next(self.numbers))
        self.known[job_id] = Known(place, start_by=start_by, lender=lender, waits_for_lender=waits_for is not None)
        return job_id

    @precondition(lambda self: self.alive < FEW)
    @rule(target=JOBS, key=st.sampled_from(["one", "two"]))
    def submit_the_same_twice_at_once(self, key: str):
        """Two servers have both looked for the key when neither has written yet."""
        asked = submit.Idempotency(key, "/jobs", {})
        self.now += timedelta(milliseconds=1)
        before = submit.find_replay(self.db, asked)
        made = []
        for _ in range(2 if before is None else 0):
            try:
                with self.db.begin() as session:
                    made.append(submit.add_job(session, SPEC, idempotency=asked, now=self.now).id)
            except IntegrityError:
                assert submit.find_replay(self.db, asked).id == made[0]
        if before is not None:
            assert before.id == self.keys[key]
            return multiple()
        assert len(made) == 1, "one request made two jobs"
        self.keys[key] = made[0]
        self.known[made[0]] = Known(order=(0, next(self.numbers)))
        return made[0]

    @rule(job_id=JOBS)
    def cancel(self, job_id: str) -> None:
        if known := self.ask(requests.cancel, job_id, refused={State.SUCCEEDED, State.FAILED}):
            known.cancel = known.cancel or known.state not in FINAL
            if known.state in (State.QUEUED, State.PAUSED):
                known.state, known.retry_at = State.CANCELLED, None

    @rule(job_id=JOBS)
    def pause(self, job_id: str) -> None:
        if known := self.ask(requests.pause, job_id, refused=FINAL):
            known.pause = True
            if known.state is State.QUEUED:
                known.state, known.retry_at = State.PAUSED, None

    @rule(job_id=JOBS)
    def resume(self, job_id: str) -> None:
        if known := self.ask(requests.resume, job_id, refused=FINAL):
            known.pause = False
            if known.state is State.PAUSED:
                known.state = State.QUEUED
                known.start_by = known.start_by and self.now + timedelta(seconds=QUEUE_SECONDS)

    @rule(job_id=JOBS)
    def delete(self, job_id: str) -> None:
        def delete(session, job_id: str, now: datetime) -> None:
            delete_job(session, job_id)

        borrowed = any(known.lender == job_id and known.state not in FINAL for known in self.known.values())
        try:
            deleted = self.ask(delete, job_id, refused=set(State) - FINAL)
        except InUse:
            assert borrowed, "refused without reason"
            return
        if deleted:
            assert not borrowed, "a teacher was taken from a job that needs it"
            del self.known[job_id]
            self.gone.add(job_id)
            self.keys = {key: made for key, made in self.keys.items() if made != job_id}

    def ask(self, what: Callable, job_id: str, *, refused: Collection[State]) -> Known | None:
        """What the model knows of the job, if the request was granted."""
        known = self.known.get(job_id)
        try:
            with self.db.begin() as session:
                what(session, job_id, self.now)
        except JobNotFound:
            assert known is None, "a job was lost"
            return None
        except NotAllowed:
            assert known.state in refused, "refused without reason"
            return None
        assert known is not None, "a deleted job was there"
        assert known.state not in refused, "allowed what makes no sense"
        return known
