"""Workers: who is there, who works on what, and who shall take no more jobs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from api import views
from api.dependencies import Database
from jobs.database import storable
from jobs.errors import WorkerNotFound
from jobs.workers import roster

router = APIRouter(prefix="/workers", tags=["workers"])

ASKED: dict[int | str, dict[str, Any]] = {200: {"model": views.Worker, "description": "that was so before"}}


async def _name(name: str) -> str:
    """A name that a worker could have; anything else never reaches the database."""
    if len(name) > 200 or not storable.is_storable(name):
        raise WorkerNotFound(storable.clean(name[:100]))
    return name


Name = Annotated[str, Depends(_name)]


@router.get("")
def list_workers(db: Database) -> views.Page[views.Worker]:
    """Every worker that was heard of in the last day, the one that started last first; all on one page."""
    with db.read() as session:
        found = roster.all_now(session)
    return views.page([views.worker(now) for now in found])


@router.get("/{name}")
def get_worker(name: Name, db: Database) -> views.Worker:
    """One of them."""
    with db.read() as session:
        found = roster.one_now(session, name)
    return views.worker(found)


@router.post("/{name}/drain", status_code=202, responses=ASKED)
def drain_worker(name: Name, db: Database, response: Response) -> views.Worker:
    """Let a worker give its job back, from where it stands, and take no more. 200 if it was asked before."""
    return _ask(db, name, response, drain=True)


@router.post("/{name}/undrain", status_code=202, responses=ASKED)
def undrain_worker(name: Name, db: Database, response: Response) -> views.Worker:
    """Let a worker take jobs again. 200 if it may already."""
    return _ask(db, name, response, drain=False)


def _ask(db: Database, name: str, response: Response, *, drain: bool) -> views.Worker:
    with db.begin() as session:
        changed = roster.request_drain(session, name, drain=drain)
        found = roster.one_now(session, name)
    response.status_code = 202 if changed else 200
    return views.worker(found)
