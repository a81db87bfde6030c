"""Sweeps: ask for many runs at once, see how they stand, stop them as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi import Query as InQuery
from sqlalchemy.orm import Session

from api.dependencies import Database, Notifier, Settings
from api.http import body, conditional, idempotency, pages
from api.http.pages import PageQuery
from api.sweeps import pareto, views
from jobs import ids
from jobs.errors import SweepNotFound
from jobs.files import store
from jobs.queue.submit import Idempotency
from jobs.sweeps import requests, submit
from jobs.sweeps.plan import Plan
from jobs.sweeps.standings import standings
from jobs.tables import Sweep

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

PLAN_BODY = body.reference(Plan)


@dataclass(frozen=True)
class NewSweep:
    """A body of POST /sweeps: as it came, and what it means."""

    body: Any
    plan: Plan


def _new_sweep(content: body.Body) -> NewSweep:
    given = body.parse(content)
    return NewSweep(given, body.understand(Plan, given))


async def _sweep_id(sweep_id: str) -> str:
    """An id that we could have made; anything else never reaches the database."""
    if not ids.is_id("sweep", sweep_id):
        raise SweepNotFound(sweep_id[:100])
    return sweep_id


Submitted = Annotated[NewSweep, Depends(_new_sweep)]
SweepId = Annotated[str, Depends(_sweep_id)]

MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": views.SweepTable, "description": "this very request has made it before (`Idempotency-Key`)"},
    201: {"headers": {"Location": {"description": "where the sweep is", "schema": {"type": "string"}}}},
    507: {"description": "the disk, or what jobs may take of it, is full"},
}
NOT_NOW: dict[int | str, dict[str, Any]] = {
    409: {"description": "the sweep's status does not allow it; `allowed` says what it does"}
}
ASKED: dict[int | str, dict[str, Any]] = {
    200: {"model": views.SweepTable, "description": "that was so before"},
    **NOT_NOW,
}


class SweepPage(PageQuery):
    after: str | None = pages.cursor(ids.pattern("sweep"))


@router.post("", status_code=201, response_model=views.SweepTable, openapi_extra=PLAN_BODY, responses=MADE)
def submit_sweep(
    wanted: Submitted, key: idempotency.Key, db: Database, notifier: Notifier, settings: Settings
) -> Response:
    """Queue runs that differ in some fields. The first trains the teacher; the others wait for it."""
    request = Idempotency.of(key, "/sweeps", wanted.body)
    sweep, is_new = submit.submit(db, settings, wanted.plan, idempotency=request)
    with db.read() as session:
        view = _view(session, sweep)
    for member in view.members if is_new else ():
        if member.job_id is not None:
            notifier.job_queued(member.job_id)
    headers = {"Location": views.sweep_url(sweep.id), **({} if is_new else idempotency.REPLAYED)}
    return conditional.answer(view, 201 if is_new else 200, headers)


@router.get("")
def list_sweeps(wanted: Annotated[SweepPage, InQuery()], db: Database) -> pages.Page[views.Sweep]:
    """Sweeps, the newest first, without their members."""
    with db.read() as session:
        found = submit.list_sweeps(session, limit=wanted.limit, after=wanted.after)
    return pages.page([views.sweep(sweep) for sweep in found.items], found.next_cursor)


@router.get("/{sweep_id}")
def get_sweep(sweep_id: SweepId, db: Database) -> views.SweepTable:
    """A sweep and how its members stand: the best by validation, never by test."""
    with db.read() as session:
        return _view(session, requests.get_sweep(session, sweep_id))


@router.get(
    "/{sweep_id}/pareto.svg",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}, "description": "the picture"}},
)
def draw_pareto_front(sweep_id: SweepId, db: Database) -> Response:
    """Validation accuracy against size and against latency, as a picture; members that nobody beats are filled."""
    with db.read() as session:
        sweep = requests.get_sweep(session, sweep_id)
        picture = pareto.draw(sweep.name or sweep.id, standings(session, sweep_id))
    return Response(picture, media_type="image/svg+xml", headers={"Cache-Control": "no-cache"})


@router.post("/{sweep_id}/cancel", status_code=202, response_model=views.SweepTable, responses=ASKED)
def cancel_sweep(sweep_id: SweepId, db: Database) -> Response:
    """Cancel all members that have not ended, and make no more. 200 if that was asked before."""
    return _ask(db, sweep_id, requests.cancel)


@router.post("/{sweep_id}/pause", status_code=202, response_model=views.SweepTable, responses=ASKED)
def pause_sweep(sweep_id: SweepId, db: Database) -> Response:
    """Put all members aside that have not ended, and make no more for now. 200 if that was asked before."""
    return _ask(db, sweep_id, requests.pause)


@router.post("/{sweep_id}/resume", status_code=202, response_model=views.SweepTable, responses=ASKED)
def resume_sweep(sweep_id: SweepId, db: Database, notifier: Notifier) -> Response:
    """Go on with a sweep that is paused, and with all its members that are. 200 if it goes on already."""
    answer = _ask(db, sweep_id, requests.resume)
    if answer.status_code == 202:
        notifier.job_queued(sweep_id)  # whoever is idle looks for work
    return answer


@router.delete("/{sweep_id}", status_code=204, responses=NOT_NOW)
def delete_sweep(sweep_id: SweepId, db: Database, settings: Settings) -> None:
    """Forget a sweep that is over, its jobs and their files; jobs that lend their teachers to others stay."""
    with db.begin() as session:
        deleted = requests.delete_sweep(session, sweep_id)
    store.delete_jobs(settings.data_dir, deleted)


def _ask(db: Database, sweep_id: str, what: Callable[[Session, str], tuple[Sweep, bool]]) -> Response:
    with db.begin() as session:
        sweep, changed = what(session, sweep_id)
        view = _view(session, sweep)
    return conditional.answer(view, 202 if changed else 200)


def _view(session: Session, sweep: Sweep) -> views.SweepTable:
    return views.table(sweep, standings(session, sweep.id))
