"""All that may happen to the queue, as rules between which Hypothesis chooses, each done to the model as well."""

import itertools
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from jobs.database.engine import Sessions
from jobs.envelope import Envelope, Limits
from jobs.errors import InUse, JobNotFound, LeaseLost, NotAllowed, SpecRefused
from jobs.files.retention import RESUMES_KEPT, NewFile
from jobs.log import purge
from jobs.log.events import events_after
from jobs.queue import chains, leases, recording, requests, rescue, submit
from jobs.queue.delete import delete_job
from jobs.queue.fence import Claim
from jobs.states import FINAL, State
from jobs.tables import Event, FileKind, Job, MetricPoint
from jobs.teachers import lending
from kd.outputs import TEACHER
from kd.spec import parse
from tests.jobs.queue.model import FIRST_PAUSE, MAX_STALLS, Known

SPEC = parse({"mode": "train", "config": {}})
TTL = timedelta(seconds=30)
FEW = 2  # jobs at a time that have not ended, so that deeds meet in one
QUEUE_SECONDS = 20.0  # between the steps in which time passes

WORKERS = st.sampled_from(["a", "b"])
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # of a run that are safe
ENDINGS = st.sampled_from(sorted(FINAL))


class Life(RuleBasedStateMachine):
    """Users, workers, zombies and rescuers, one deed after another."""

    new_database: Callable[[], Sessions]

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.db = self.new_database()
        self.now = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.known: dict[str, Known] = {}
        self.keys: dict[str, str] = {}
        self.numbers = itertools.count()
        self.gone: set[str] = set()

    # -- users ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.alive < FEW)
    @rule(target=jobs, priority=st.integers(-1, 1), patient=st.sampled_from([True, True, True, False]))
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
    @rule(target=jobs, lender=jobs, patient=st.booleans())
    def submit_under_the_teacher_of(self, lender: str, patient: bool):
        self.now += timedelta(milliseconds=1)
        spec = parse({"mode": "train", "config": {"teacher": {"job": lender}}})
        limits = Limits(max_queue_seconds=None if patient else QUEUE_SECONDS)
        known = self.known.get(lender)
        try:
            with self.db.begin() as session:
                waits_for = lending.check(session, spec)
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
    @rule(target=jobs, key=st.sampled_from(["one", "two"]))
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

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        if known := self.ask(requests.cancel, job_id, refused={State.SUCCEEDED, State.FAILED}):
            known.cancel = known.cancel or known.state not in FINAL
            if known.state in (State.QUEUED, State.PAUSED):
                known.state, known.retry_at = State.CANCELLED, None

    @rule(job_id=jobs)
    def pause(self, job_id: str) -> None:
        if known := self.ask(requests.pause, job_id, refused=FINAL):
            known.pause = True
            if known.state is State.QUEUED:
                known.state, known.retry_at = State.PAUSED, None

    @rule(job_id=jobs)
    def resume(self, job_id: str) -> None:
        if known := self.ask(requests.resume, job_id, refused=FINAL):
            known.pause = False
            if known.state is State.PAUSED:
                known.state = State.QUEUED
                known.start_by = known.start_by and self.now + timedelta(seconds=QUEUE_SECONDS)

    @rule(job_id=jobs)
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

    @property
    def alive(self) -> int:
        return sum(known.state not in FINAL for known in self.known.values())

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

    # -- workers -------------------------------------------------------------------------------------------------

    @rule(target=claims, worker=WORKERS)
    def claim(self, worker: str):
        with self.db.begin() as session:
            claim = leases.claim(session, worker=worker, ttl=TTL, now=self.now)
        waiting = [job_id for job_id, known in self.known.items() if known.waits(self.now)]
        assert (claim is None) == (not waiting), "a job waits, and nobody can have it"
        if claim is None:
            return multiple()
        assert claim.job_id == min(waiting, key=lambda job_id: self.known[job_id].order), "out of turn"
        known = self.known[claim.job_id]
        known.state, known.owner, known.lease_ends, known.retry_at = State.RUNNING, claim, self.now + TTL, None
        known.attempt, known.stalls = known.attempt + 1, known.stalls + 1
        assert (claim.attempt, claim.checkpoint_step) == (known.attempt, known.step)
        assert (claim.resume and claim.resume.path) == known.newest[1]
        return claim

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        def write(session) -> None:
            heard = leases.renew(session, claim, ttl=TTL, now=self.now)
            known = self.known[claim.job_id]
            assert (heard.cancel, heard.pause) == (known.cancel, known.pause), "a request did not reach the worker"

        if self.as_its_worker(claim, write):
            self.known[claim.job_id].lease_ends = self.now + TTL

    @rule(claim=claims, step=st.integers(0, 20), safe=st.none() | SHARES)
    def record(self, claim: Claim, step: int, safe: float | None) -> None:
        said = {"events": [{"type": "noted", "data": {}}], "metrics": [("loss", step, 0.5)], "safe_fraction": safe}
        written = self.as_its_worker(claim, lambda session: recording.record(session, claim, now=self.now, **said))
        if written and safe is not None:
            self.known[claim.job_id].got_to(safe)

    @rule(claim=claims, further=st.integers(1, 5), safe=SHARES)
    def publish(self, claim: Claim, further: int, safe: float) -> None:
        step = further + (self.known[claim.job_id].step if claim.job_id in self.known else 0)
        file = NewFile(FileKind.RESUME, "r.pt", f"r{next(self.numbers)}", 1, "0" * 64)
        facts = {"phase": "student", "epoch": 0, "best": False, "metrics": {}, "fraction": safe, "files": [file]}
        if self.as_its_worker(
            claim, lambda session: recording.publish(session, claim, step=step, now=self.now, **facts)
        ):
            known = self.known[claim.job_id]
            known.resumes = [(step, file.path), *known.resumes][:RESUMES_KEPT]
            known.got_to(safe)

    @rule(claim=claims)
    def publish_its_teacher(self, claim: Claim) -> None:
        file = NewFile(FileKind.ARTIFACT, TEACHER, f"t{next(self.numbers)}", 1, "0" * 64)
        if self.as_its_worker(claim, lambda session: recording.publish_file(session, claim, file, now=self.now)):
            self.known[claim.job_id].has_teacher = True

    @rule(target=claims, claim=claims)
    def find_its_resume_damaged(self, claim: Claim):
        anew: list[Claim] = []
        if not self.as_its_worker(
            claim, lambda session: anew.append(recording.discard_resume(session, claim, now=self.now))
        ):
            return multiple()
        known = self.known[claim.job_id]
        damaged = claim.resume and claim.resume.path
        known.resumes = [(step, path) for step, path in known.resumes if path != damaged]
        known.safe = -1.0
        assert (anew[0].checkpoint_step, anew[0].resume and anew[0].resume.path) == known.newest
        return anew[0]

    @rule(claim=claims, state=ENDINGS)
    def finish(self, claim: Claim, state: State) -> None:
        if self.as_its_worker(claim, lambda session: leases.release(session, claim, state, now=self.now)):
            known = self.known[claim.job_id]
            known.state, known.owner = state, None

    @rule(claim=claims, crashed=st.booleans())
    def give_back(self, claim: Claim, crashed: bool) -> None:
        def write(session) -> None:
            how = {"keep_stall": crashed, "max_stalls": MAX_STALLS, "first_pause": FIRST_PAUSE}
            leases.requeue(session, claim, **how, now=self.now)

        if self.as_its_worker(claim, write):
            known = self.known[claim.job_id]
            known.put_down(stalled=crashed, crashed_at=self.now if crashed else None)
            if not crashed:
                known.stalls = max(known.stalls - 1, 0)

    @rule(worker=WORKERS)
    def remember_nothing(self, worker: str) -> None:
        """The answer to a claim was lost: the worker gives back whatever it holds."""
        with self.db.begin() as session:
            given_back = leases.requeue_all_of(session, worker, max_stalls=MAX_STALLS, now=self.now)
        held = [job_id for job_id, known in self.known.items() if known.owner and known.owner.worker == worker]
        assert sorted(given_back) == sorted(held)
        for job_id in held:
            known = self.known[job_id]
            known.put_down(stalled=False)
            known.stalls = max(known.stalls - 1, 0)

    def as_its_worker(self, claim: Claim, write: Callable) -> bool:
        """Whoever ever had a claim writes, zombies too; only the owner may."""
        owns = claim.job_id in self.known and self.known[claim.job_id].is_owned_by(claim)
        try:
            with self.db.begin() as session:
                write(session)
        except LeaseLost:
            assert not owns, "the owner was refused"
            return False
        assert owns, "a zombie wrote"
        return True

    # -- time and rescue -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 10, 31]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def rescue(self) -> None:
        with self.db.begin() as session:
            rescued = rescue.rescue_expired(session, max_stalls=MAX_STALLS, now=self.now)
        late = [job_id for job_id, known in self.known.items() if known.owner and known.lease_ends < self.now]
        assert sorted(job_id for job_id, _ in rescued) == sorted(late)
        for job_id in late:
            self.known[job_id].put_down(stalled=True)

    @rule()
    def tidy_up(self) -> None:
        """What has waited too long fails; what deleted jobs have said goes, and nothing else does."""
        with self.db.begin() as session:
            expired = rescue.expire_waiting(session, now=self.now)
        late = [
            job_id
            for job_id, known in self.known.items()
            if known.waits(self.now) and not known.attempt and known.start_by and known.start_by < self.now
        ]
        assert sorted(expired) == sorted(late)
        for job_id in late:
            self.known[job_id].state = State.FAILED
        purge.purge(self.db)
        with self.db.read() as session:
            there = {*session.scalars(select(Event.job_id)), *session.scalars(select(MetricPoint.job_id))}
        assert not there & self.gone

    @rule()
    def settle_chains(self) -> None:
        """Whoever waits for a teacher goes on when it is there, and ends when it will not be."""
        waiting = {
            job_id: self.known[known.lender]
            for job_id, known in self.known.items()
            if known.state is State.QUEUED and known.waits_for_lender
        }
        freed = [job_id for job_id, lender in waiting.items() if lender.has_teacher]
        ended = [job_id for job_id, lender in waiting.items() if not lender.has_teacher and lender.state in FINAL]
        with self.db.begin() as session:
            assert chains.is_due(session) == bool(freed or ended)
            settled = chains.settle(session, self.now)
        assert (sorted(settled.freed), sorted(settled.ended)) == (sorted(freed), sorted(ended))
        for job_id in freed:
            known = self.known[job_id]
            known.waits_for_lender = False
            known.start_by = known.start_by and self.now + timedelta(seconds=QUEUE_SECONDS)
        for job_id in ended:
            self.known[job_id].state = State.FAILED

    @rule()
    def every_worker_dies(self) -> None:
        self.now += 2 * TTL
        self.rescue()

    # -- what must be true ---------------------------------------------------------------------------------------

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        columns = select(
            Job.id,
            Job.state,
            Job.attempt,
            Job.stalls,
            Job.checkpoint_step,
            Job.safe_fraction,
            Job.lease_owner,
            Job.retry_at,
        )
        with self.db.read() as session:
            told = {row.id: tuple(row)[1:] for row in session.execute(columns)}
        assert told == {job_id: known.row for job_id, known in self.known.items()}

    def teardown(self) -> None:
        if not hasattr(self, "db"):
            return
        try:
            self.look_back()
        finally:
            self.db.kw["bind"].dispose()
            self.db._reader.dispose()

    def look_back(self) -> None:
        with self.db.read() as session:
            for job_id, known in self.known.items():
                known.check_log(events_after(session, job_id, 0, 10_000))
