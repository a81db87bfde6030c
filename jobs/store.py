"""Jobs and what belongs to them, as their users add, read and delete them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    String,
    any_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from jobs import clock, history, ids, leftovers, plain, resources
from jobs.errors import ArtifactNotFound, CheckpointNotFound, InUse, JobNotFound, KeyReused, NotAllowed, NotStorable
from jobs.history import Said
from jobs.models import Checkpoint, Event, File, FileKind, Job, MetricPoint
from jobs.retention import NEWEST_FIRST
from jobs.states import ACTIONS, FINAL, State
from kd.spec import GuideSpec, TeacherOfJob, TrainSpec

T = TypeVar("T")

PRIORITIES = range(-100, 101)

# Built once: that takes longer than to ask.
_ONE = select(Job).where(Job.id == bindparam("job_id")).execution_options(populate_existing=True)


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


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant. `label` is "key" or "key=value", `q` a part of the name, or the id."""

    states: Collection[State | str] = ()
    mode: str | None = None
    label: str | None = None
    q: str | None = None
    created_after: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.states or self.mode or self.label or self.q or self.created_after)


EVERY = Filter()


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
        plain.refuse(value, field)
    check_priority(priority)
    if parent is not None:
        keep_job(session, parent)
        get_job(session, parent)

    # The id carries the time by the database's clock, so that ids sort as jobs do.
    at = now or clock.read(session)
    needs, teacher = resources.needs_of(spec), spec.config.teacher
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
    history.append(session, job, [Said("state", {"state": State.QUEUED})])
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


def get_job(session: Session, job_id: str) -> Job:
    job = session.execute(_ONE, {"job_id": job_id}).scalar_one_or_none() if ids.is_id("job", job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def lock_job(session: Session, job_id: str) -> None:
    """Let nobody else change the job until the transaction ends. (On SQLite its `BEGIN IMMEDIATE` has done that.)"""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())


def keep_job(session: Session, job_id: str) -> None:
    """Let nobody delete the job until the transaction ends: for who is about to name it in another one."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(read=True, key_share=True))


def list_jobs(session: Session, *, limit: int = 20, after: str | None = None, which: Filter = EVERY) -> Page:
    """Newest first. `after` is the id of the last job seen.

    Ids are in the order of creation, so a page never repeats or skips a job, also when its cursor was deleted.
    """
    found = _newest(select(Job), session, which, limit + 1, after)
    if len(states := set(which.states)) > 1:
        # An index has the jobs of each state in this order; those of several would all have to be sorted first.
        parts = [_newest(select(Job.id), session, replace(which, states=[one]), limit + 1, after) for one in states]
        newest = union_all(*(select(part.subquery().c.id) for part in parts))
        found = select(Job).where(Job.id.in_(newest)).order_by(Job.id.desc()).limit(limit + 1)
    jobs = list(session.execute(found, execution_options={"populate_existing": True}).scalars())
    return Page(jobs[:limit], has_more=len(jobs) > limit)


def _newest(found: Select[T], session: Session, which: Filter, limit: int, after: str | None) -> Select[T]:
    found = found.where(*matching(session, which)).order_by(Job.id.desc()).limit(limit)
    if after is not None:
        found = found.where(Job.id < after if plain.is_storable(after) else false())
    return found


def matching(session: Session, which: Filter) -> list[ColumnElement[bool]]:
    """The filter as conditions for a WHERE."""
    if not all(plain.is_storable(text) for text in (which.mode, which.label, which.q) if text is not None):
        return [false()]  # what cannot be stored is nowhere
    found: list[ColumnElement[bool]] = []
    if which.states:
        found.append(Job.state.in_([State(state) for state in which.states]))
    if which.mode is not None:
        found.append(Job.mode == which.mode)
    if which.label is not None:
        found.append(labelled(session, which.label))
    if which.q:
        found.append(or_(Job.name.icontains(which.q, autoescape=True), Job.id == which.q))
    if which.created_after is not None:
        # The id says nearly the same, and has an index.
        found += [Job.id >= ids.first_at("job", which.created_after), Job.created_at > which.created_after]
    return found


def labelled(session: Session, label: str) -> ColumnElement[bool]:
    """Whether a job has this label: "key" or "key=value"."""
    # Not Job.labels[key]: SQLite's JSON paths cannot quote every key.
    key, equals, value = label.partition("=")
    each = func.json_each if session.get_bind().dialect.name == "sqlite" else func.json_each_text
    pairs = each(Job.labels).table_valued("key", "value")
    wanted = [pairs.c.key == key] + ([pairs.c.value == value] if equals else [])
    return exists().select_from(pairs).where(*wanted)


def delete_job(session: Session, job_id: str) -> None:
    """Forget a job that has ended, and everything about it; its folder goes after the commit (`files.remove_jobs`).

    Raises `NotAllowed` while it has not ended, and `InUse` while it lends its teacher.
    """
    lock_job(session, job_id)
    job = get_job(session, job_id)
    if job.state not in FINAL:
        raise NotAllowed(job_id, job.state, "delete", ACTIONS[job.state])
    borrowers = session.execute(
        select(Job.id).where(Job.teacher_job_id == job_id, Job.state.not_in(FINAL)).order_by(Job.id).limit(5)
    ).scalars()
    if found := list(borrowers):
        raise InUse(job_id, found)
    delete_all(session, [Job.id == job_id])


def delete_all(session: Session, matching: Sequence[ColumnElement[bool]]) -> list[str]:
    """Forget every job that matches, has ended and lends its teacher to none that has not. Returns their ids.

    What they have said is out of sight with them, and is deleted by and by (`jobs.leftovers`).
    """
    borrower = aliased(Job)
    lends = exists().where(borrower.teacher_job_id == Job.id, borrower.state.not_in(FINAL))
    meant = (*matching, Job.state.in_(FINAL))
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL statement_timeout = 0"))  # what belongs to many jobs takes its time
        # Who is about to borrow a teacher keeps its job: wait for them here, so that the next statement sees the
        # borrower. It deletes none but those that we waited for.
        ours = session.execute(select(Job.id).where(*meant).order_by(Job.id)).scalars().all()
        # Their retries are changed too. All in one order, so that two who do this at the same moment wait for each
        # other instead of for ever.
        theirs = literal(ours, ARRAY(String))
        touched = or_(Job.id == any_(theirs), Job.parent_job_id == any_(theirs))
        session.execute(select(Job.id).where(touched).order_by(Job.id).with_for_update())
        meant = (*meant, Job.id == any_(theirs))
    deleted = session.execute(
        delete(Job).where(*meant, ~lends).returning(Job.id).execution_options(synchronize_session=False)
    )
    gone = list(deleted.scalars())
    leftovers.note(session, gone)
    return gone


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
