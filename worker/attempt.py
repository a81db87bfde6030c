"""See one job through: claim it, start its trainer, record what it says, heartbeat, publish, release.

Every write goes through the lease's fence. Once the lease is lost, or could not be renewed in time, the trainer
is killed and the work dropped: somebody else has the job, or soon will.
"""

import contextlib
import errno
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobs import endings
from jobs.database.engine import UNREACHABLE
from jobs.endings import Code, Ending
from jobs.errors import FileGone, LeaseLost, NoTeacher
from jobs.files import find, layout, retention, safely
from jobs.queue import leases, recording
from jobs.queue.fence import Claim
from jobs.queue.leases import Requests
from jobs.states import FINAL, State
from jobs.teachers import lending
from kd.machine import cgroups
from worker import remedies
from worker.child import Child, Order, last_words, log_path
from worker.recorder import Recorder
from worker.worker import Worker

log = structlog.get_logger()

# A share of the lease: a worker that could not renew for so long gives up before another may claim the job.
SELF_FENCE = 0.7
# Steps are gathered this long before they are written: one short write per batch.
FLUSH_SECONDS = 0.25
# How often a database that does not answer is asked again.
RETRY_SECONDS = 1.0
# A trainer that has nothing more to say is given this long to end by itself.
LEAVE_SECONDS = 2.0
# A trainer that is asked to stop is given this long to save where it stands.
STOP_SECONDS = 5.0
# How often its memory is looked at.
MEMORY_SECONDS = 0.5


def supervise(worker: Worker) -> bool:
    """Claim the next job and see it through. False when there was none to claim."""
    ttl = timedelta(seconds=worker.settings.lease_seconds)
    if worker.unanswered:
        with worker.db.begin() as session:
            leases.put_back_all_of(session, worker.name, max_stalls=worker.settings.max_stalls)
        worker.unanswered = False
    asked = time.monotonic()
    try:
        with worker.db.begin() as session:
            claim = leases.claim(session, worker=worker.name, ttl=ttl, offer=worker.offer)
    except UNREACHABLE:
        worker.unanswered = True
        raise
    if claim is None:
        return False
    log.info("job_claimed", job=claim.job_id, attempt=claim.attempt, resume=claim.resume)
    attempt = Attempt(worker, claim, renewed_at=asked)
    try:
        attempt.see_through()
    except LeaseLost:
        log.warning("lease_lost", job=claim.job_id, attempt=claim.attempt)
    except (DBAPIError, *UNREACHABLE):  # nothing can be written down now: the lease lapses, and the job is rescued
        log.exception("database_failed", job=claim.job_id, attempt=claim.attempt)
    except Exception as error:  # a bug of ours must cost one job, not the worker
        log.exception("supervisor_failed", job=claim.job_id, attempt=claim.attempt)
        attempt.give_up(error)
    finally:
        attempt.end_trainer()
    return True


class Attempt:
    """One claim and its trainer."""

    def __init__(self, worker: Worker, claim: Claim, renewed_at: float):
        self.worker, self.claim = worker, claim
        self.began = self.renewed_at = renewed_at
        self.requests = Requests(cancel=False, pause=False)
        self.lease_lapsed = False
        self.ending: Ending | None = None  # why we end the trainer, where it is not asked for by anybody
        self.stop_asked_at: float | None = None
        self.memory_limit = memory_limit(worker, claim)
        self.oom_kills = cgroups.oom_kills()
        self.folder = layout.attempt_folder(worker.settings.data_dir, claim.job_id, claim.attempt)
        self.recorder = Recorder(worker.db, claim, worker.settings.data_dir, self.folder)
        self.child: Child | None = None

    @property
    def ran_seconds(self) -> float:
        return time.monotonic() - self.began

    # -- the attempt, from start to end --------------------------------------------------------------------------

    def see_through(self) -> None:
        """Start the trainer and stay until its end is in the database. Raises `LeaseLost`."""
        data = self.worker.settings.data_dir
        try:
            teacher_file = self._teacher_file()
        except NoTeacher as error:
            log.warning("no_teacher", job=self.claim.job_id, error=str(error))
            self._refuse(endings.no_teacher(error))
            return
        over = threading.Event()
        try:
            self.child = self.worker.trainers.take()
            self._start_fence(over)
        except OSError as error:  # no process, no thread, no memory: this machine's trouble, not the job's
            log.error("no_trainer", job=self.claim.job_id, error=str(error))
            self.end_trainer()
            self.worker.trainers.fail(error)
            time.sleep(RETRY_SECONDS)
            self._put_back(endings.no_trainer(error))
            return
        try:
            self.child.start(
                Order(
                    spec=self.claim.spec,
                    out=str(self.folder),
                    resume=str(data / self.claim.resume) if self.claim.resume else None,
                    data_folder=str(data / "datasets"),
                    label_folder=str(data / "labels"),
                    log=str(log_path(self.folder)),
                    teacher_file=teacher_file,
                    label_cache_bytes=self.worker.settings.label_cache_bytes,
                )
            )
            self._listen(self.child)
            self._settle(self.child)
        finally:
            over.set()

    def end_trainer(self) -> None:
        """Whatever happened: nothing of the trainer is left."""
        if self.child is not None:
            self.child.kill()
        safely.let_go(self.folder)

    def _listen(self, child: Child) -> None:
        """Until the trainer has ended: take what it says, write it down, renew the lease, mind requests and limits."""
        now = heard_at = time.monotonic()
        next_beat = next_flush = next_weighing = now
        failing = False  # the database does not answer: what is urgent waits like the rest
        while True:
            now = time.monotonic()
            if now >= next_beat:
                self._try(self._renew)
                next_beat = now + self.worker.settings.heartbeat_seconds
            if now >= next_flush or (self.recorder.urgent and not failing):
                failing = not self._try(self.recorder.flush)
                next_flush = now + (RETRY_SECONDS if failing else FLUSH_SECONDS)
            if now >= next_weighing:
                self._weigh(child)
                next_weighing = now + MEMORY_SECONDS
            self._mind_the_time(now, heard_at)
            if self._must_end_now(child, now) or (self.recorder.failure is not None and now - heard_at > LEAVE_SECONDS):
                child.kill()
                return
            wake = min(next_beat, next_weighing, next_flush if self.recorder.waiting else next_beat)
            try:
                event = child.next_event(min(wake - time.monotonic(), FLUSH_SECONDS))
            except queue.Empty:
                if not child.alive:
                    child.end_descendants()
                continue
            if event is None:
                return
            heard_at = time.monotonic()
            self.recorder.hear(event)
            if self.recorder.finished is not None:
                return  # there is nothing more to hear, and to unload torch takes a second

    def _must_end_now(self, child: Child, now: float) -> bool:
        """Whether to kill the trainer. One that is only in the way is asked to stop first, and may save."""
        if self.requests.cancel or self.lease_lapsed:
            return True
        if self.ending is not None and self.ending.code is not Code.RUN_TIME_EXCEEDED:
            return True
        if self.stop_asked_at is not None:
            return now - self.stop_asked_at > STOP_SECONDS
        if self.requests.pause or self.worker.leaving or self.ending is not None:
            child.ask_to_stop()
            self.stop_asked_at = now
        return False

    def _mind_the_time(self, now: float, heard_at: float) -> None:
        if self.ending is not None or self.stop_asked_at is not None:
            return
        claim = self.claim
        if claim.max_run_seconds is not None and claim.run_seconds + self.ran_seconds > claim.max_run_seconds:
            self.ending = endings.run_time_exceeded(claim.max_run_seconds)
        elif claim.max_stall_seconds is not None and now - heard_at > claim.max_stall_seconds:
            self.ending = endings.stalled(claim.max_stall_seconds)

    def _weigh(self, child: Child) -> None:
        if self.memory_limit is not None and self.ending is None:
            used = child.descendants.memory_bytes(doubt_beyond=self.memory_limit)
            if used > self.memory_limit:
                self.ending = endings.too_much_memory(used, self.memory_limit)

    def _settle(self, child: Child) -> None:
        """The trainer has said its last word: write down how it ended, trying again while the lease is ours."""
        if self.recorder.finished is None:
            # It may take its time to leave, or never do; what it said counts, and an ending without a word is read
            # off its exit code. One that failed still writes its traceback.
            child.kill_after(LEAVE_SECONDS)
        while not self.lease_lapsed:
            if self._try(self.recorder.flush) and self._try(lambda: self._release(child)):
                return
            time.sleep(RETRY_SECONDS)
        # The trainer is gone, and what it said last with it. Perhaps the lease is still ours to give back: a renewal
        # that hung may have been done after all.
        with contextlib.suppress(*UNREACHABLE), self.worker.db.begin() as session:
            max_stalls = self.worker.settings.max_stalls
            leases.requeue(session, self.claim, keep_stall=False, max_stalls=max_stalls, ran_seconds=self.ran_seconds)
        raise LeaseLost(self.claim.job_id, self.claim.attempt)

    def _teacher_file(self) -> str | None:
        """The weights of the teacher if another job has it; None if it is trained in this one. Raises `NoTeacher`."""
        wanted = lending.wanted(self.claim.spec)
        if wanted is None:
            return None
        for path in self._teacher_paths():
            with contextlib.suppress(FileGone):
                return str(safely.hold(self.worker.settings.data_dir, path, self.folder))
        raise NoTeacher(wanted.job, f"no longer has the weights of its {wanted.role}, which was to teach here")

    def _teacher_paths(self) -> Iterator[str]:
        """Where its weights were when we claimed the job, and where they are now: its job may have gone on elsewhere,
        and written them anew."""
        if self.claim.teacher is not None:
            yield self.claim.teacher
        with self.worker.db.read() as session:
            path = lending.path(session, self.claim.job_id, self.claim.spec)
        if path is not None:
            yield path

    def _refuse(self, error: Ending) -> None:
        """Fail the job before a trainer has seen it."""
        self._insist(lambda session: leases.release(session, self.claim, State.FAILED, error=error))

    def _put_back(self, error: Ending) -> None:
        """Another worker may do better: nothing is held against the job."""
        max_stalls = self.worker.settings.max_stalls
        self._insist(
            lambda session: leases.requeue(session, self.claim, keep_stall=False, max_stalls=max_stalls, error=error)
        )

    def _insist(self, write: Callable[[Session], object]) -> None:
        """Write until the database takes it, for as long as the lease is ours."""

        def once() -> None:
            with self.worker.db.begin() as session:
                write(session)

        while not self._try(once):
            if time.monotonic() - self.renewed_at > SELF_FENCE * self.worker.settings.lease_seconds:
                raise LeaseLost(self.claim.job_id, self.claim.attempt)
            time.sleep(RETRY_SECONDS)

    def _release(self, child: Child) -> None:
        data, job_id = self.worker.settings.data_dir, self.claim.job_id
        with self.worker.db.begin() as session:
            state, unused = self._end(session, child)
            named = retention.named(session, job_id)
        safely.remove(data, unused)
        if state in FINAL:
            safely.sweep(data, job_id, keep=named)  # what a killed trainer had written but not yet published
        log.info("job_released", job=job_id, attempt=self.claim.attempt, state=state)

    def _end(self, session: Session, child: Child) -> tuple[State, list[str]]:
        """The move that this ending calls for; the state it led to, and paths to delete after the commit."""
        claim, finished, failure = self.claim, self.recorder.finished, self.recorder.failure
        max_stalls, ran_seconds = self.worker.settings.max_stalls, self.ran_seconds

        def ends(state: State, **facts: Any) -> tuple[State, list[str]]:
            return state, leases.release(session, claim, state, ran_seconds=ran_seconds, **facts)

        def goes_back(held: Claim, error: Ending | None) -> State:
            # Whoever was in the way of others has not stalled.
            stall = error is not None
            return leases.requeue(
                session, held, keep_stall=stall, max_stalls=max_stalls, error=error, ran_seconds=ran_seconds
            )

        if finished is not None:
            best = find.checkpoint(session, claim.job_id, "best")
            result = {"metrics": finished.metrics, "best_checkpoint": best.id, "seconds": finished.seconds}
            return ends(State.SUCCEEDED, result=result)
        if self.requests.cancel:
            return ends(State.CANCELLED)
        if failure is not None and failure.code is Code.BAD_CHECKPOINT and claim.resume is not None:
            # Damaged on disk: the one before it serves, or the start does.
            return goes_back(recording.discard_resume(session, claim), failure), [claim.resume]
        if failure is not None and failure.code is Code.UNFIT_CHECKPOINT:
            return goes_back(claim, failure), []  # nothing is known to be wrong with the file: another worker may do
        if failure is not None:
            return ends(State.FAILED, error=self._advised(failure))
        if self.ending is not None and self.ending.code is not Code.STALLED:
            return ends(State.FAILED, error=self._advised(self.ending))
        # (Who stops a whole service may have ended the trainer before we could ask it to.)
        if self.recorder.stopped or self.stop_asked_at is not None or self.worker.leaving:
            return goes_back(claim, None), []
        return goes_back(claim, self._advised(self.ending or self._death(child))), []

    def _death(self, child: Child) -> Ending:
        return endings.death(
            child.exit_code,
            memory_ran_out=cgroups.oom_kills() > self.oom_kills,
            last_words=last_words(log_path(self.folder)),
        )

    def _advised(self, ending: Ending) -> Ending:
        """With a patch for the spec, where there is one."""
        return replace(ending, patch=remedies.suggest(ending.code, self.claim.spec, self.recorder.phase))

    def give_up(self, error: Exception) -> None:
        """Something here is broken: say so in the job. If even that fails, the lease lapses and the job is rescued."""
        self.end_trainer()
        with contextlib.suppress(DBAPIError, LeaseLost, *UNREACHABLE), self.worker.db.begin() as session:
            bug = endings.bug(error)
            leases.release(session, self.claim, State.FAILED, error=bug, ran_seconds=self.ran_seconds)

    # -- the lease -----------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        asked = time.monotonic()  # before the call: the database may take its time to answer
        with self.worker.db.begin() as session:
            ttl = timedelta(seconds=self.worker.settings.lease_seconds)
            self.requests = leases.renew(session, self.claim, ttl=ttl, ran_seconds=asked - self.began)
        self.renewed_at = asked

    def _start_fence(self, over: threading.Event) -> None:
        try:
            threading.Thread(target=self._fence_myself, args=(over,), daemon=True).start()
        except RuntimeError as error:  # the trainer's threads were the last that there were
            raise OSError(errno.EAGAIN, str(error)) from error

    def _fence_myself(self, over: threading.Event) -> None:
        """In a thread of its own, since a hung database holds up the rest: kill the trainer before the lease lapses."""
        while not over.wait(min(0.5, self.worker.settings.lease_seconds / 20)):
            if time.monotonic() - self.renewed_at > SELF_FENCE * self.worker.settings.lease_seconds:
                log.error("lease_not_renewed_in_time", job=self.claim.job_id, attempt=self.claim.attempt)
                self.lease_lapsed = True
                self.end_trainer()
                return

    def _try(self, write: Callable[[], None]) -> bool:
        """Write to the database; when it cannot be reached, say so and let the caller try again later."""
        try:
            write()
        except UNREACHABLE as error:
            log.warning("database_unreachable", job=self.claim.job_id, error=str(error))
            return False
        return True


def memory_limit(worker: Worker, claim: Claim) -> int | None:
    """The bytes of the machine's memory that a trainer may take: what the job asked for, what the worker allows."""
    offered = worker.offer.memory_bytes if worker.offer is not None else 0
    limits = [limit for limit in (claim.memory_bytes, worker.settings.trainer_memory_bytes, offered) if limit]
    return min(limits, default=None)
