"""All that may happen to the queue, as rules between which Hypothesis chooses, each done to the model as well."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from sqlalchemy import select

from jobs.log import purge
from jobs.log.events import events_after
from jobs.queue import chains, rescue
from jobs.states import FINAL, State
from jobs.tables import Event, Job, MetricPoint
from tests.jobs.queue.model import MAX_STALLS
from tests.jobs.queue.users import Users
from tests.jobs.queue.workers import Workers
from tests.jobs.queue.world import QUEUE_SECONDS, TTL


class Life(Users, Workers):
    """Users, workers, zombies and rescuers, one deed after another."""

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
