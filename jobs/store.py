"""All that a user may read or ask. Changes here are never fenced: they are requests, and rows of their own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from jobs import clock, history, ids, plain
from jobs.errors import ArtifactNotFound, CheckpointNotFound, JobNotFound, NotAllowed, NotStorable
from jobs.history import Said
from jobs.models import Checkpoint, Event, File, FileKind, Job, MetricPoint
from jobs.retention import NEWEST_FIRST
from jobs.states import State
from kd.spec import GuideSpec, TrainSpec

PRIORITIES = range(-100, 101)


@dataclass(frozen=True)
class Page:
    items: list[Job]
    has_more: bool


def add_job(
    session: Session,
    spec: TrainSpec | GuideSpec,
    *,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    priority: int = 0,
    parent: str | None = None,
    now: datetime | None = None,
) -> Job:
    """Queue a run. `given` is the spec as the user wrote it; `spec` has every default filled in."""
    given = dict(given) if given is not None else spec.model_dump(mode="json", exclude_unset=True)
    labels = dict(labels or {})
    for field, value in (("spec", given), ("name", name), ("labels", labels)):
        plain.refuse(value, field)
    if priority not in PRIORITIES:
        raise NotStorable("priority", f"must be between -100 and 100, not {priority}")
    if parent is not None:
        get_job(session, parent)

    # The id carries the time by the database's clock, so that ids sort as jobs do.
    at = now or clock.read(session)
    job = Job(
        id=ids.new("job", at),
        mode=spec.mode,
        name=name,
        labels=labels,
        spec=given,
        resolved_spec=spec.model_dump(mode="json"),
        priority=priority,
        parent_job_id=parent,
        state=State.QUEUED,
        events_seq=1,
        created_at=at,
        updated_at=at,
    )
    session.add(job)
    session.flush()
    history.append(session, job, [Said("state", {"state": State.QUEUED})])
    return job


def get_job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, populate_existing=True) if ids.is_id("job", job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def list_jobs(
    session: Session,
    *,
    limit: int = 20,
    after: str | None = None,
    states: Collection[State | str] = (),
    mode: str | None = None,
    label: str | None = None,
    q: str | None = None,
    created_after: datetime | None = None,
) -> Page:
    """Newest first. `after` is the id of the last job seen, `label` is "key" or "key=value", `q` a part of the name.

    Ids are in the order of creation, so a page never repeats or skips a job, also when its cursor was deleted.
    """
    if not all(plain.is_storable(text) for text in (after, mode, label, q) if text is not None):
        return Page([], has_more=False)  # what cannot be stored is nowhere
    found = select(Job).order_by(Job.id.desc()).limit(limit + 1)
    if after is not None:
        found = found.where(Job.id < after)
    if states:
        found = found.where(Job.state.in_([State(state) for state in states]))
    if mode is not None:
        found = found.where(Job.mode == mode)
    if label is not None:
        found = _with_label(session, found, label)
    if q:
        found = found.where(or_(Job.name.icontains(q, autoescape=True), Job.id == q))
    if created_after is not None:
        found = found.where(Job.created_at > created_after)
    jobs = list(session.execute(found, execution_options={"populate_existing": True}).scalars())
    return Page(jobs[:limit], has_more=len(jobs) > limit)


def _with_label(session: Session, found: Select[Job], label: str) -> Select[Job]:
    # Not Job.labels[key]: SQLite's JSON paths cannot quote every key.
    key, equals, value = label.partition("=")
    each = func.json_each if session.get_bind().dialect.name == "sqlite" else func.json_each_text
    pairs = each(Job.labels).table_valued("key", "value")
    wanted = [pairs.c.key == key] + ([pairs.c.value == value] if equals else [])
    return found.where(exists().select_from(pairs).where(*wanted))


def request_cancel(session: Session, job_id: str, now: datetime | None = None) -> tuple[Job, bool]:
    """Cancel a job that waits; ask the worker of one that runs. False if that was done before."""
    if not ids.is_id("job", job_id):
        raise JobNotFound(job_id)
    at = clock.now_or(now)
    waits = Job.state == State.QUEUED
    job = session.execute(
        update(Job)
        .where(
            Job.id == job_id,
            Job.state.in_([State.QUEUED, State.RUNNING]),
            Job.cancel_requested_at.is_(None),
        )
        .values(
            state=case((waits, State.CANCELLED), else_=Job.state),
            finished_at=case((waits, at), else_=Job.finished_at),
            cancel_requested_at=at,
            updated_at=at,
            events_seq=Job.events_seq + 1,
        )
        .returning(Job)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalar_one_or_none()
    if job is None:
        job = get_job(session, job_id)
        if job.state not in (State.RUNNING, State.CANCELLED):
            raise NotAllowed(job_id, job.state, "cancel", ())
        return job, False
    cancelled = job.state is State.CANCELLED
    history.append(
        session, job, [Said("state", {"state": State.CANCELLED}) if cancelled else Said("cancel_requested", {})]
    )
    return job, True


def events_after(session: Session, job_id: str, seq: int = 0, limit: int = 100) -> list[Event]:
    """The events that follow number `seq`, in order."""
    get_job(session, job_id)
    found = select(Event).where(Event.job_id == job_id, Event.seq > seq).order_by(Event.seq).limit(limit)
    return list(session.execute(found).scalars())


def metric_series(
    session: Session, job_id: str, names: Collection[str] | None = None
) -> dict[str, list[tuple[int, float]]]:
    """The job's curves by name (all of them, or `names`): (step, value), in the order of steps."""
    get_job(session, job_id)
    points = select(MetricPoint.name, MetricPoint.step, MetricPoint.value).where(MetricPoint.job_id == job_id)
    if names is not None:
        points = points.where(MetricPoint.name.in_([name for name in names if plain.is_storable(name)]))
    series: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in session.execute(points.order_by(MetricPoint.name, MetricPoint.step)):
        series.setdefault(name, []).append((step, value))
    return series


def checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """The checkpoints with a student to download, newest first."""
    get_job(session, job_id)
    return list(session.execute(_with_student(job_id)).scalars())


def checkpoint(session: Session, job_id: str, which: str) -> Checkpoint:
    """One of them: by its id, or "best" or "last"."""
    get_job(session, job_id)
    found = _with_student(job_id).limit(1)
    if which == "best":
        found = found.where(Checkpoint.best)
    elif which != "last":
        if not ids.is_id("ckpt", which):
            raise CheckpointNotFound(job_id, which)
        found = found.where(Checkpoint.id == which)
    one = session.execute(found).scalar_one_or_none()
    if one is None:
        raise CheckpointNotFound(job_id, which)
    return one


def _with_student(job_id: str) -> Select[Checkpoint]:
    has_student = exists().where(File.checkpoint_id == Checkpoint.id, File.kind == FileKind.STUDENT)
    return (
        select(Checkpoint)
        .where(Checkpoint.job_id == job_id, has_student)
        .order_by(*NEWEST_FIRST)
        .execution_options(populate_existing=True)
    )


def files(session: Session, job_id: str) -> list[File]:
    """The job's artifacts, by name."""
    get_job(session, job_id)
    return list(session.execute(_artifacts(job_id).order_by(File.name)).scalars())


def file(session: Session, job_id: str, name: str) -> File:
    """The artifact of this name."""
    get_job(session, job_id)
    found = None
    if plain.is_storable(name):
        found = session.execute(_artifacts(job_id).where(File.name == name)).scalar_one_or_none()
    if found is None:
        raise ArtifactNotFound(job_id, name)
    return found


def _artifacts(job_id: str) -> Select[File]:
    return select(File).where(File.job_id == job_id, File.kind == FileKind.ARTIFACT)


def oldest_queued(session: Session) -> str | None:
    """The id of the job that the next claim would take: the one to ring for again."""
    waiting = select(Job.id).where(Job.state == State.QUEUED)
    return session.execute(waiting.order_by(Job.priority.desc(), Job.created_at, Job.id).limit(1)).scalar_one_or_none()
