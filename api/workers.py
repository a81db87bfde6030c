"""Workers: who is there, who works on what, and who shall take no more jobs."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from api.dependencies import Database
from api.http import pages
from api.jobs.views import job_url
from jobs.database import storable
from jobs.errors import WorkerNotFound
from jobs.workers import roster
from jobs.workers.roster import Status, WorkerNow


class WorkerUrls(BaseModel):
    self: str
    drain: str
    undrain: str
    job: str | None


class Worker(BaseModel):
    """A process that runs jobs, as it last described itself."""

    name: str
    object: Literal["worker"]
    host: str
    pid: int
    version: str
    status: Status
    trouble: Annotated[str | None, Field(description="why it takes no job at the moment")]
    gpus: int
    gpu_names: list[str]
    memory_bytes: int
    job_id: Annotated[str | None, Field(description="what it works on")]
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    drain_requested_at: datetime | None
    urls: WorkerUrls


def worker(now: WorkerNow) -> Worker:
    here = f"/workers/{quote(now.name, safe='')}"
    return Worker(
        name=now.name,
        object="worker",
        host=now.host,
        pid=now.pid,
        version=now.version,
        status=now.status,
        trouble=now.trouble,
        gpus=now.offer.gpus,
        gpu_names=list(now.offer.gpu_names),
        memory_bytes=now.offer.memory_bytes,
        job_id=now.job_id,
        started_at=now.started_at,
        heartbeat_at=now.heartbeat_at,
        heartbeat_age_seconds=now.heartbeat_age_seconds,
        drain_requested_at=now.drain_requested_at,
        urls=WorkerUrls(
            self=here, drain=f"{here}/drain", undrain=f"{here}/undrain", job=now.job_id and job_url(now.job_id)
        ),
    )


router = APIRouter(prefix="/workers", tags=["workers"])

ASKED: dict[int | str, dict[str, Any]] = {200: {"model": Worker, "description": "that was so before"}}


async def _name(name: str) -> str:
    """A name that a worker could have; anything else never reaches the database."""
    if len(name) > 200 or not storable.is_storable(name):
        raise WorkerNotFound(storable.clean(name[:100]))
    return name


Name = Annotated[str, Depends(_name)]


@router.get("")
def list_workers(db: Database) -> pages.Page[Worker]:
    """Every worker that was heard of in the last day, the one that started last first; all on one page."""
    with db.read() as session:
        found = roster.all_now(session)
    return pages.page([worker(now) for now in found])


@router.get("/{name}")
def get_worker(name: Name, db: Database) -> Worker:
    """One of them."""
    with db.read() as session:
        found = roster.one_now(session, name)
    return worker(found)


@router.post("/{name}/drain", status_code=202, responses=ASKED)
def drain_worker(name: Name, db: Database, response: Response) -> Worker:
    """Let a worker give its job back, from where it stands, and take no more. 200 if it was asked before."""
    return _ask(db, name, response, drain=True)


@router.post("/{name}/undrain", status_code=202, responses=ASKED)
def undrain_worker(name: Name, db: Database, response: Response) -> Worker:
    """Let a worker take jobs again. 200 if it may already."""
    return _ask(db, name, response, drain=False)


def _ask(db: Database, name: str, response: Response, *, drain: bool) -> Worker:
    with db.begin() as session:
        changed = roster.request_drain(session, name, drain=drain)
        found = roster.one_now(session, name)
    response.status_code = 202 if changed else 200
    return worker(found)
