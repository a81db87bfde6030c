"""How a job comes into the queue."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from jobs import ids, kinds
from jobs.database import clock, storable
from jobs.database.engine import Sessions
from jobs.envelope import Envelope
from jobs.errors import KeyReused, SpecRefused
from jobs.files import layout, quota
from jobs.job import columns_of, get_job, keep_job
from jobs.log import events
from jobs.log.events import NewEvent
from jobs.settings import Settings
from jobs.states import State
from jobs.tables import Job, Loan
from jobs.teachers import labels, lending, uploads
from jobs.workers.needs import needs_of
from kd.data import packed_facts
from kd.data.packed_facts import PackedFacts
from kd.errors import DataError
from kd.spec import Config, GuideSpec, TeacherOfJob, TrainSpec
from kd.spec.evaluate import EvaluateSpec
from kd.spec.export import ExportSpec
from kd.spec.faults import Fault
from kd.spec.ingest import IngestSpec

NO_ENVELOPE = Envelope()
LightSpec = IngestSpec | EvaluateSpec | ExportSpec


@dataclass(frozen=True)
class Submission:
    """A run that somebody asks for: `spec` has every default filled in, `given` is as it was written."""

    spec: TrainSpec | GuideSpec
    given: Mapping[str, Any]
    envelope: Envelope = NO_ENVELOPE
    parent: str | None = None


@dataclass(frozen=True)
class Idempotency:
    """A key that a client gave a request, and that request: its path and its body."""

    key: str
    path: str
    body: Any = field(repr=False)

    @classmethod
    def of(cls, key: str | None, path: str, body: Any) -> Self | None:
        return None if key is None else cls(key, path, body)

    @cached_property
    def digest(self) -> str:
        """Of the request: the order of its fields and its spaces do not matter."""
        canonical = json.dumps([self.path, self.body], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


Draft = Callable[[Session], Submission]
"""Reads what a submission is made of: of a retry, say, the job that has ended."""


def submit(
    db: Sessions,
    settings: Settings,
    draft: Draft,
    *,
    confirm: Callable[[Session], None] | None = None,
    idempotency: Idempotency | None = None,
) -> tuple[Job, bool]:
    """The new job, and True; or the one that the same request has made before, and False.

    That one needs neither room, data nor a teacher. `confirm` is asked in the transaction that adds the job whether
    what the draft has read still holds.
    """
    before = find_replay(db, idempotency)
    if before is not None:
        return before, False
    with db.read() as session:
        quota.check(session, settings)
        submission = draft(session)
    check_data(submission.spec.config, settings.data_dir)  # a slow disk holds up no writer
    add_it = partial(_add, db, settings, submission, confirm, idempotency)
    try:
        return add_it(), True
    except IntegrityError:  # somebody with the same key was faster
        before = find_replay(db, idempotency)
        if before is not None:
            return before, False
        return add_it(), True  # that job has been deleted since


def find_replay(db: Sessions, idempotency: Idempotency | None) -> Job | None:
    """The job that this very request has made before. Raises `KeyReused` if another one has come with its key."""
    if idempotency is None:
        return None
    digest = idempotency.digest  # of a large body it takes its time, which no transaction should
    with db.read() as session:
        job = session.execute(select(Job).where(Job.idempotency_key == idempotency.key)).scalar_one_or_none()
    if job is not None and job.idempotency_digest != digest:
        raise KeyReused(idempotency.key, job.id)
    return job


def check_data(config: Config, data_dir: Path) -> None:
    """Refuse what only the data folder tells: a packed data set that is not there, or that does not suit the spec."""
    facts = facts_of(config.dataset, data_dir, "/config/dataset")
    if facts is None:
        return
    if faults := [
        Fault(f"/config/{field.replace('.', '/')}", why)
        for field, why in config.misfits(
            len(facts.classes), facts.shape, images=facts.train, own_validation=facts.validation > 0
        )
    ]:
        raise SpecRefused(faults)


def facts_of(dataset: str, data_dir: Path, pointer: str) -> PackedFacts | None:
    """Those of a packed data set; None of one whose name says it all. Raises `SpecRefused`."""
    if not packed_facts.is_packed(dataset):
        return None
    folder = data_dir / layout.DATASETS
    try:
        if dataset not in packed_facts.names(folder):
            raise SpecRefused([Fault(pointer, packed_facts.missing(folder, dataset))])
        return packed_facts.read(folder, dataset)
    except DataError as error:
        raise SpecRefused([Fault(pointer, layout.without_places(str(error), data_dir))]) from None


def _add(
    db: Sessions,
    settings: Settings,
    submission: Submission,
    confirm: Callable[[Session], None] | None,
    idempotency: Idempotency | None,
) -> Job:
    with db.begin() as session:
        if confirm is not None:
            confirm(session)
        return add(session, submission, settings.data_dir, idempotency)


def check_teachers(session: Session, submission: Submission, data_dir: Path) -> str | None:
    """Refuse teachers and labels that are not to be had. Returns the job that still has to have its teacher. Raises
    `SpecRefused`."""
    waits_for = lending.check(session, submission.spec, data_dir)
    labels.check(session, submission.spec, data_dir)
    uploads.check(session, submission.spec, data_dir)
    return waits_for


def add(session: Session, submission: Submission, data_dir: Path, idempotency: Idempotency | None = None) -> Job:
    """The row of a new job, which waits for its teacher if another job is still to have it. Raises `SpecRefused`."""
    waits_for = check_teachers(session, submission, data_dir)
    return add_job(
        session,
        submission.spec,
        given=submission.given,
        envelope=submission.envelope,
        parent=submission.parent,
        waits_for=waits_for,
        idempotency=idempotency,
    )


def add_job(
    session: Session,
    spec: TrainSpec | GuideSpec,
    *,
    given: Mapping[str, Any] | None = None,
    envelope: Envelope = NO_ENVELOPE,
    parent: str | None = None,
    waits_for: str | None = None,
    idempotency: Idempotency | None = None,
    now: datetime | None = None,
) -> Job:
    """The row of a new job, and its first event. Of two with the same key the later one gets an IntegrityError.

    One that `waits_for` another job is not claimed before that has its teacher (`jobs.queue.chains`).
    """
    given = dict(given) if given is not None else spec.model_dump(mode="json", exclude_unset=True)
    storable.refuse(given, "spec")
    if parent is not None:
        keep_job(session, parent)
        get_job(session, parent)

    at, needs, teacher = now or clock.read(session), needs_of(spec), spec.config.teacher
    patience = envelope.limits.max_queue_seconds
    job = _insert(
        session,
        spec,
        at,
        **columns_of(envelope),
        spec=given,
        parent_job_id=parent,
        teacher_job_id=teacher.job if isinstance(teacher, TeacherOfJob) else None,
        waits_for_job_id=waits_for,
        idempotency_key=idempotency and idempotency.key,
        idempotency_digest=idempotency and idempotency.digest,
        start_by=None if patience is None else at + timedelta(seconds=patience),
        needs_gpus=needs.gpus,
        needs_memory_bytes=needs.memory_bytes,
    )
    session.add_all(Loan(job_id=job.id, lends=lender) for lender in sorted(lending.loans_of(spec)))
    return job


def add_light_job(session: Session, spec: LightSpec, *, lent: str | None = None, now: datetime | None = None) -> Job:
    """The row of a new job of light work, to which a teacher may be `lent`. It needs no machine in particular."""
    given = spec.model_dump(mode="json", exclude_unset=True) | {"mode": spec.mode}
    storable.refuse(given, "spec")
    job = _insert(session, spec, now or clock.read(session), **columns_of(NO_ENVELOPE), spec=given)
    if lent is not None:
        session.add(Loan(job_id=job.id, lends=lent))
    return job


def _insert(session: Session, wanted: TrainSpec | GuideSpec | LightSpec, at: datetime, **columns: Any) -> Job:
    job = Job(
        # The id carries the time by the database's clock, so that ids sort as jobs do.
        id=ids.new("job", at),
        mode=wanted.mode,
        kind=kinds.of(wanted.mode),
        resolved_spec=wanted.model_dump(mode="json"),
        state=State.QUEUED,
        events_seq=1,
        created_at=at,
        updated_at=at,
        **columns,
    )
    session.add(job)
    session.flush()
    events.append(session, job, [NewEvent("state", {"state": State.QUEUED})])
    return job
