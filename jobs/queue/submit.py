"""How a job comes into the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock, storable
from jobs.errors import KeyReused, NotStorable
from jobs.job import get_job, keep_job
from jobs.log import events
from jobs.log.events import Said
from jobs.states import State
from jobs.tables import Job
from jobs.workers.needs import needs_of
from kd.spec import GuideSpec, TeacherOfJob, TrainSpec

PRIORITIES = range(-100, 101)


@dataclass(frozen=True)
class Limits:
    """How long a job may take, in seconds; None is no limit."""

    max_run_seconds: float | None = None
    """Of training, over all attempts."""
    max_queue_seconds: float | None = None
    """Until its first start."""
    max_stall_seconds: float | None = None
    """Without a word from its trainer."""


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Idempotency:
    """A key that a client gave a request, and a digest of that request."""

    key: str
    digest: str


def add_job(
    session: Session,
    spec: TrainSpec | GuideSpec,
    *,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    priority: int = 0,
    limits: Limits = NO_LIMITS,
    keep_last: int = 1,
    parent: str | None = None,
    idempotency: Idempotency | None = None,
    now: datetime | None = None,
) -> Job:
    """Queue a run. `given` is the spec as the user wrote it; `spec` has every default filled in.

    With an idempotency key, ask `made_before` first. Of two who do at the same moment one gets an IntegrityError.
    """
    given = dict(given) if given is not None else spec.model_dump(mode="json", exclude_unset=True)
    labels = dict(labels or {})
    for field, value in (("spec", given), ("name", name), ("labels", labels)):
        storable.refuse(value, field)
    check_priority(priority)
    if parent is not None:
        keep_job(session, parent)
        get_job(session, parent)

    # The id carries the time by the database's clock, so that ids sort as jobs do.
    at = now or clock.read(session)
    needs, teacher = needs_of(spec), spec.config.teacher
    job = Job(
        id=ids.new("job", at),
        mode=spec.mode,
        name=name,
        labels=labels,
        spec=given,
        resolved_spec=spec.model_dump(mode="json"),
        priority=priority,
        parent_job_id=parent,
        teacher_job_id=teacher.job if isinstance(teacher, TeacherOfJob) else None,
        idempotency_key=idempotency and idempotency.key,
        idempotency_digest=idempotency and idempotency.digest,
        max_run_seconds=limits.max_run_seconds,
        max_queue_seconds=limits.max_queue_seconds,
        max_stall_seconds=limits.max_stall_seconds,
        start_by=None if limits.max_queue_seconds is None else at + timedelta(seconds=limits.max_queue_seconds),
        keep_last=keep_last,
        needs_gpus=needs.gpus,
        needs_memory_bytes=needs.memory_bytes,
        state=State.QUEUED,
        events_seq=1,
        created_at=at,
        updated_at=at,
    )
    session.add(job)
    session.flush()
    events.append(session, job, [Said("state", {"state": State.QUEUED})])
    return job


def made_before(session: Session, idempotency: Idempotency) -> Job | None:
    """The job that a request with this key has made. Raises `KeyReused` if that was another request."""
    found = select(Job).where(Job.idempotency_key == idempotency.key)
    job = session.execute(found, execution_options={"populate_existing": True}).scalar_one_or_none()
    if job is not None and job.idempotency_digest != idempotency.digest:
        raise KeyReused(idempotency.key, job.id)
    return job


def check_priority(priority: int) -> None:
    if priority not in PRIORITIES:
        raise NotStorable("priority", f"must be between -100 and 100, not {priority}")
