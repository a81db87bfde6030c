"""See one job through: claim it, start its trainer, record what it says, until its end is written down.

Every write goes through the lease's fence. Once the lease is lost, or could not be renewed in time, the trainer
is killed and the work dropped: somebody else has the job, or soon will.
"""

import contextlib
import queue
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from jobs import endings, kinds
from jobs.database.engine import UNREACHABLE
from jobs.endings import Code, Ending
from jobs.errors import FileGone, LeaseLost, NoTeacher
from jobs.files import layout, store
from jobs.files.store import Stored
from jobs.kinds import Kind
from jobs.queue import leases, recording
from jobs.teachers import lending
from kd.disk import sha256_of
from kd.machine import cgroups
from kd.spec import TeacherOfJob, TeacherUploaded
from kd.teachers import uploads
from worker import settling
from worker.child import Child, Order
from worker.foresight import Foresight
from worker.lease import RETRY_SECONDS, Lease
from worker.limits import Limits, Silence
from worker.recorder import Recorder
from worker.trainer_log import TrainerLog
from worker.worker import Worker

log = structlog.get_logger()

# Steps are gathered this long before they are written: one short write per batch.
FLUSH_SECONDS = 0.25
# A trainer that has nothing more to say is given this long to end by itself.
LEAVE_SECONDS = 2.0
# A trainer that is asked to stop is given this long to save where it stands.
STOP_SECONDS = 5.0
# How often its memory and its log are looked at.
WEIGHING_SECONDS = 0.5


def supervise(worker: Worker, kind: Kind = Kind.DISTILLATION) -> bool:
    """Claim the next job of a kind and see it through. False when there was none to claim."""
    lease = _claim(worker, kind)
    if lease is None:
        return False
    claim = lease.claim
    log.info("job_claimed", job=claim.job_id, attempt=claim.attempt, resume=claim.resume and claim.resume.path)
    attempt = Attempt(lease)
    try:
        attempt.see_through()
    except LeaseLost:
        log.warning("lease_lost", job=claim.job_id, attempt=claim.attempt)
    # Nothing can be written down now: the lease lapses, and the job is rescued.
    except UNREACHABLE as error:
        log.warning("database_unreachable", job=claim.job_id, error=str(error), recurs=True)
    except DBAPIError:
        log.exception("database_failed", job=claim.job_id, attempt=claim.attempt)
    except Exception as error:  # a bug of ours must cost one job, not the worker
        log.exception("supervisor_failed", job=claim.job_id, attempt=claim.attempt)
        attempt.end_trainer()
        settling.give_up(lease, error)
    finally:
        attempt.end_trainer()
    return True


def _claim(worker: Worker, kind: Kind) -> Lease | None:
    """The lease of the next job; None if there is none."""
    if kind in worker.unanswered:
        with worker.db.begin() as session:
            leases.requeue_all_of(session, worker.name, max_stalls=worker.settings.max_stalls, kind=kind)
        worker.unanswered.discard(kind)
    ttl, asked = timedelta(seconds=worker.settings.lease_seconds), time.monotonic()
    try:
        with worker.db.begin() as session:
            claim = leases.claim(session, worker=worker.name, ttl=ttl, kind=kind, offer=worker.offer)
    except UNREACHABLE:
        worker.unanswered.add(kind)
        raise
    return None if claim is None else Lease(worker, claim, claimed_at=asked)


class Attempt:
    """One claim and its trainer."""

    def __init__(self, lease: Lease):
        self.lease, self.worker, self.claim = lease, lease.worker, lease.claim
        kind = kinds.of(self.claim.spec["mode"])
        self.is_light, self.children = kind is Kind.LIGHT, self.worker.children(kind)
        self.limits = Limits.of(self.worker, self.claim)
        self.limit: Ending | None = None  # the one that was exceeded
        self.stop_asked_at: float | None = None
        self.oom_kills = cgroups.oom_kills()
        self.folder = layout.attempt_folder(self.worker.settings.data_dir, self.claim.job_id, self.claim.attempt)
        self.log = TrainerLog(self.folder)
        self.recorder = Recorder(self.worker.db, self.claim, self.worker.settings.data_dir, self.folder)
        self.child: Child | None = None
        self.foresight: Foresight | None = None  # of the first attempt

    def see_through(self) -> None:
        """Start the trainer and stay until its end is in the database. Raises `LeaseLost`."""
        try:
            teachers = self._teachers()
        except NoTeacher as error:
            log.warning("no_teacher", job=self.claim.job_id, error=str(error))
            settling.refuse(self.lease, endings.no_teacher(error))
            return
        try:
            self.child = self.children.take()
            self.lease.fence(self.end_trainer)
        except OSError as error:  # no process, no thread, no memory: this machine's trouble, not the job's
            log.error("no_trainer", job=self.claim.job_id, error=str(error))
            self.end_trainer()
            self.children.fail(error)
            time.sleep(RETRY_SECONDS)
            settling.put_back(self.lease, endings.no_trainer(error))
            return
        try:
            self.child.start(self._order(teachers))
            if not self.is_light and self.claim.attempt == 1:
                self.foresight = Foresight(self.worker, self.claim)
            self._listen(self.child)
            settling.settle(self.lease, self.recorder, self._end_of(self.child))
        finally:
            self.lease.close()

    def _expect(self) -> None:
        """Write down what the job will take, once that is known. (An estimate that cannot be written is none.)"""
        if self.foresight is not None and (expected := self.foresight.take()) is not None:
            self.lease.try_to(lambda: self._write(expected))

    def _write(self, estimate: dict[str, Any]) -> None:
        with self.worker.db.begin() as session:
            recording.expect(session, self.claim, estimate)

    def end_trainer(self) -> None:
        """Whatever happened: nothing of the trainer is left."""
        if self.child is not None:
            self.child.kill()
        store.unlink_teachers(self.folder)

    def _teachers(self) -> list[Stored]:
        """The files of the teachers that come from elsewhere, in the spec's order: of other jobs the weights, where
        they are held for us. Raises `NoTeacher`."""
        each = lending.brought(self.claim.spec).items()
        return [self._find(one) if isinstance(one, TeacherUploaded) else self._hold(role, one) for role, one in each]

    def _find(self, wanted: TeacherUploaded) -> Stored:
        """A teacher that somebody has brought, which nobody deletes while our job has not ended."""
        path = uploads.manifest(self.worker.settings.data_dir / layout.TEACHERS, wanted.upload)
        try:
            return Stored(str(path), sha256_of(path))
        except OSError as error:
            raise NoTeacher(wanted.upload, f"is not to be had ({error.strerror})") from error

    def _hold(self, role: str, wanted: TeacherOfJob) -> Stored:
        for weights in self._weights_of(role):
            with contextlib.suppress(FileGone):
                held = store.link_teacher(self.worker.settings.data_dir, weights.path, self.folder, role)
                return Stored(str(held), weights.sha256)
        raise NoTeacher(wanted.job, f"no longer has the weights of its {wanted.role}, which this job was to have")

    def _weights_of(self, role: str) -> Iterator[Stored]:
        """Where a teacher's weights were when we claimed the job, and where they are now: its job may have gone on
        elsewhere, and written them anew."""
        if role in self.claim.teachers:
            yield self.claim.teachers[role]
        with self.worker.db.read() as session:
            found = lending.find_weights(session, self.claim.job_id, self.claim.spec)
        if role in found:
            yield found[role]

    def _order(self, teachers: list[Stored]) -> Order:
        data, resume = self.worker.settings.data_dir, self.claim.resume
        return Order(
            spec=self.claim.spec,
            out=str(self.folder),
            resume=str(data / resume.path) if resume else None,
            resume_sha256=resume.sha256 if resume else None,
            data_folder=str(data / layout.DATASETS),
            label_folder=str(data / layout.LABELS),
            log=str(self.log.path),
            silence_seconds=self.worker.settings.lease_seconds,
            teacher_files=[(teacher.path, teacher.sha256) for teacher in teachers],
            label_cache_bytes=self.worker.settings.label_cache_bytes,
            data_dir=str(data) if self.is_light else None,
        )

    def _listen(self, child: Child) -> None:
        """Until the trainer has ended: take what it says, write it down, renew the lease, mind requests and limits."""
        next_beat = next_flush = next_weighing = now = time.monotonic()
        silence = Silence(now)
        failing = False  # the database does not answer: what is urgent waits like the rest
        while True:
            now = time.monotonic()
            silence.go_on(now)
            if now >= next_beat:
                child.beat()
                self.lease.try_to(self.lease.renew)
                next_beat = now + self.worker.settings.heartbeat_seconds
            if now >= next_flush or (self.recorder.is_urgent and not failing):
                failing = not self.lease.try_to(self.recorder.flush)
                self._expect()
                next_flush = now + (RETRY_SECONDS if failing else FLUSH_SECONDS)
            if now >= next_weighing:
                self.limit = self.limit or self.limits.check_memory(child.descendants)
                self.lease.log_bytes = self.log.bound()
                next_weighing = now + WEIGHING_SECONDS
            if self.stop_asked_at is None:
                self.limit = self.limit or self.limits.check_time(
                    ran_seconds=self.lease.ran_seconds, silent_seconds=silence.seconds
                )
            will_not_leave = self.recorder.failure is not None and silence.seconds > LEAVE_SECONDS
            if self._must_end_now(child, now) or will_not_leave:
                child.kill()
                return
            wake = min(next_beat, next_weighing, next_flush if self.recorder.has_pending else next_beat)
            try:
                event = child.next_event(min(wake - time.monotonic(), FLUSH_SECONDS))
            except queue.Empty:
                if not child.alive:
                    child.end_descendants()  # one that still holds its stdout would keep us listening
                continue
            if event is None:
                return
            silence.hear(event)
            self.recorder.hear(event)
            if self.recorder.finished is not None:
                return  # there is nothing more to hear, and to unload torch takes a second

    def _must_end_now(self, child: Child, now: float) -> bool:
        """Whether to kill the trainer. One that is only in the way is asked to stop first, and may save."""
        if self.lease.requests.cancel or self.lease.lapsed:
            return True
        if self.limit is not None and self.limit.code is not Code.RUN_TIME_EXCEEDED:
            return True
        if self.stop_asked_at is not None:
            return now - self.stop_asked_at > STOP_SECONDS
        if self.lease.requests.pause or self.worker.is_leaving or self.limit is not None:
            child.ask_to_stop()
            self.stop_asked_at = now
        return False

    def _end_of(self, child: Child) -> settling.End:
        if self.recorder.finished is None:
            # It may take its time to leave, or never do; what it said counts, and an ending without a word is read
            # off its exit code. One that failed still writes its traceback.
            child.kill_after(LEAVE_SECONDS)
        self.lease.log_bytes = self.log.bound()
        return settling.End(
            finished=self.recorder.finished,
            failure=self.recorder.failure,
            limit=self.limit,
            stopped=self.recorder.stopped or self.stop_asked_at is not None,
            death=endings.death(
                child.exit_code,
                memory_ran_out=cgroups.oom_kills() > self.oom_kills,
                last_words=self.log.last_words,
            ),
            phase=self.recorder.phase,
        )
