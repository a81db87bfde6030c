"""What workers do with a job, those too that have lost it."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from jobs.errors import LeaseLost
from jobs.files.retention import RESUMES_KEPT, NewFile
from jobs.queue import leases, recording
from jobs.queue.fence import Claim
from jobs.states import FINAL, State
from jobs.tables import FileKind
from kd.outputs import TEACHER
from tests.jobs.queue.model import FIRST_PAUSE, MAX_STALLS
from tests.jobs.queue.world import CLAIMS, TTL, World

WORKERS = st.sampled_from(["a", "b"])
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # of a run that are safe
ENDINGS = st.sampled_from(sorted(FINAL))


class Workers(World):
    @rule(target=CLAIMS, worker=WORKERS)
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

    @rule(claim=CLAIMS)
    def renew(self, claim: Claim) -> None:
        def write(session) -> None:
            heard = leases.renew(session, claim, ttl=TTL, now=self.now)
            known = self.known[claim.job_id]
            assert (heard.cancel, heard.pause) == (known.cancel, known.pause), "a request did not reach the worker"

        if self.as_its_worker(claim, write):
            self.known[claim.job_id].lease_ends = self.now + TTL

    @rule(claim=CLAIMS, step=st.integers(0, 20), safe=st.none() | SHARES)
    def record(self, claim: Claim, step: int, safe: float | None) -> None:
        said = {"events": [{"type": "noted", "data": {}}], "metrics": [("loss", step, 0.5)], "safe_fraction": safe}
        written = self.as_its_worker(claim, lambda session: recording.record(session, claim, now=self.now, **said))
        if written and safe is not None:
            self.known[claim.job_id].got_to(safe)

    @rule(claim=CLAIMS, further=st.integers(1, 5), safe=SHARES)
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

    @rule(claim=CLAIMS)
    def publish_its_teacher(self, claim: Claim) -> None:
        file = NewFile(FileKind.ARTIFACT, TEACHER, f"t{next(self.numbers)}", 1, "0" * 64)
        if self.as_its_worker(claim, lambda session: recording.publish_file(session, claim, file, now=self.now)):
            self.known[claim.job_id].has_teacher = True

    @rule(target=CLAIMS, claim=CLAIMS)
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

    @rule(claim=CLAIMS, state=ENDINGS)
    def finish(self, claim: Claim, state: State) -> None:
        if self.as_its_worker(claim, lambda session: leases.release(session, claim, state, now=self.now)):
            known = self.known[claim.job_id]
            known.state, known.owner = state, None

    @rule(claim=CLAIMS, crashed=st.booleans())
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
