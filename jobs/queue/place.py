"""Places in the queue, and why a job still waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.database import clock
from jobs.kinds import Kind
from jobs.queue import backoff, chains
from jobs.states import State
from jobs.tables import Job
from jobs.workers import roster
from jobs.workers.needs import Offer, fits, suits
from jobs.workers.roster import Status, WorkerNow

# Further behind, the exact place is of no use, and counting would cost ever more.
PLACES_COUNTED = 1_000

IN_TURN = (Job.priority.desc(), Job.created_at, Job.id)
"""The order in which jobs are claimed."""

_WAIT = (Job.state == State.QUEUED, backoff.is_over(None), chains.has_its_teacher())
_LINES = {kind: select(Job.id).where(*_WAIT, Job.kind == kind).order_by(*IN_TURN) for kind in Kind}
_PLACES = {kind: line.limit(PLACES_COUNTED).subquery() for kind, line in _LINES.items()}
# As one row: between the rows of many sqlite3 lets the process's other threads go first, each time for milliseconds.
_PLACES_IN_ONE = {kind: select(func.aggregate_strings(places.c.id, ",")) for kind, places in _PLACES.items()}


@dataclass(frozen=True)
class Waiting:
    """Why a queued job waits. `position` is 1 for the next one; None beyond the first thousand, and of one that backs
    off or waits for its teacher, which stands in no line."""

    position: int | None
    reason: str
    message: str
    retry_at: datetime | None = None
    """When one that backs off is tried again."""
    after: str | None = None
    """The job that is still to have its teacher."""


def first(session: Session, offer: Offer | None = None, kind: Kind = Kind.DISTILLATION) -> str | None:
    """The id of the job of a kind that a worker with this offer (None: any worker) would claim next."""
    line = _LINES[kind] if offer is None else _LINES[kind].where(*suits(offer))
    return session.execute(line.limit(1)).scalar_one_or_none()


def waiting(session: Session, jobs: Sequence[Job]) -> dict[str, Waiting]:
    """Of those jobs that are queued: where in the queue they are, and what they wait for."""
    queued = [job for job in jobs if job.state is State.QUEUED]
    if not queued:
        return {}
    lines = {kind: _line(session, kind) for kind in {job.kind for job in queued}}
    there = [worker for worker in roster.all_now(session) if worker.status is not Status.LOST]
    at = clock.read(session) if any(job.retry_at for job in queued) else None
    helping = _helping(session) if Kind.LIGHT in lines else frozenset()
    return {job.id: _why(job, _place(lines[job.kind], job.id), there, helping, at) for job in queued}


def _line(session: Session, kind: Kind) -> str:
    return session.execute(_PLACES_IN_ONE[kind]).scalar_one() or ""


def _helping(session: Session) -> frozenset[str]:
    """The workers that are at light work."""
    at_it = select(Job.lease_owner).where(Job.state == State.RUNNING, Job.kind == Kind.LIGHT)
    return frozenset(worker for worker in session.execute(at_it).scalars() if worker is not None)


def _place(line: str, job_id: str) -> int | None:
    start = line.find(job_id)
    return None if start < 0 else line.count(",", 0, start) + 1


def _why(
    job: Job, position: int | None, there: Sequence[WorkerNow], helping: frozenset[str], at: datetime | None
) -> Waiting:
    if job.waits_for_job_id is not None:
        why = f"It waits for {job.waits_for_job_id}, which is still to have the model that it lends."
        return Waiting(None, "waits_for_job", why, after=job.waits_for_job_id)
    if not there:
        return Waiting(position, "no_worker", "No worker is there. Start one with `kd work`.")
    able = [worker for worker in there if fits(job, worker.offer)]
    if not able:
        return Waiting(position, "no_suitable_worker", f"None of the workers ({len(there)}) has {_needs(job)}.")
    open_to_work = [worker for worker in able if worker.status not in (Status.DRAINING, Status.DRAINED)]
    if not open_to_work:
        return Waiting(position, "workers_draining", "Every worker that could run it is being drained.")
    troubled = [worker.trouble for worker in open_to_work if worker.trouble]
    if len(troubled) == len(open_to_work):
        return Waiting(position, "workers_in_trouble", f"Workers cannot take jobs: {troubled[0]}")
    if at is not None and backoff.is_on(job, at):
        return Waiting(position, "backing_off", _when(job), job.retry_at)
    if any(_is_free(worker, job.kind, helping) for worker in open_to_work):
        return Waiting(position, "starting", "A worker is free and will take it in a moment.")
    ahead = f"{position - 1} ahead of it" if position else f"more than {PLACES_COUNTED} ahead of it"
    return Waiting(position, "workers_busy", f"Workers that could run it are busy ({len(open_to_work)}); {ahead}.")


def _is_free(worker: WorkerNow, kind: Kind, helping: frozenset[str]) -> bool:
    """Whether its slot for this kind of work is."""
    return worker.name not in helping if kind is Kind.LIGHT else worker.status is Status.IDLE


def _needs(job: Job) -> str:
    wanted = []
    if job.needs_gpus:
        wanted.append(f"{job.needs_gpus} GPU" + "s" * (job.needs_gpus > 1))
    if job.needs_memory_bytes:
        wanted.append(f"{job.needs_memory_bytes / 1e9:g} GB of memory")
    return " and ".join(wanted)


def _when(job: Job) -> str:
    assert job.retry_at is not None
    attempts = "Its last attempt" if job.stalls == 1 else f"Its last {job.stalls} attempts"
    return f"{attempts} crashed without progress; it is tried again at {job.retry_at:%H:%M:%S} UTC."
