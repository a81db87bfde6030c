"""How a sweep begins: with its first members, in one transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from jobs import ids, pages
from jobs.database import clock, storable
from jobs.database.engine import Sessions
from jobs.errors import KeyReused
from jobs.files import quota
from jobs.pages import Page
from jobs.queue.submit import Idempotency
from jobs.settings import Settings
from jobs.sweeps import advance
from jobs.sweeps.check import check
from jobs.sweeps.plan import Plan
from jobs.tables import Sweep, SweepState


def submit(
    db: Sessions, settings: Settings, plan: Plan, *, idempotency: Idempotency | None = None
) -> tuple[Sweep, bool]:
    """The new sweep, and True; or the one that the same request has made before, and False. Raises `SpecRefused`."""
    before = find_replay(db, idempotency)
    if before is not None:
        return before, False
    with db.read() as session:
        quota.check(session, settings)
    check(plan, settings.data_dir)
    points = advance.next_points(plan, [], min(plan.planned, plan.parallel, advance.TOGETHER))
    try:
        with db.begin() as session:
            sweep = _add(session, plan, idempotency)
            advance.make(session, settings.data_dir, sweep, enumerate(points, 1), refuse=True)
        return sweep, True
    except IntegrityError:  # somebody with the same key was faster
        before = find_replay(db, idempotency)
        if before is None:
            raise
        return before, False


def find_replay(db: Sessions, idempotency: Idempotency | None) -> Sweep | None:
    """The sweep that this very request has made before. Raises `KeyReused` if another one has come with its key."""
    if idempotency is None:
        return None
    digest = idempotency.digest
    with db.read() as session:
        found = select(Sweep).where(Sweep.idempotency_key == idempotency.key)
        sweep = session.execute(found).scalar_one_or_none()
    if sweep is not None and sweep.idempotency_digest != digest:
        raise KeyReused(idempotency.key, sweep.id, what="sweep")
    return sweep


def list_sweeps(session: Session, *, limit: int = 20, after: str | None = None) -> Page[Sweep]:
    """Newest first. `after` is the id of the last sweep seen."""
    found = pages.newest_first(select(Sweep), Sweep.id, limit=limit, after=after)
    return pages.read(session, found, limit, lambda sweep: sweep.id, lambda sweep: pages.json_bytes(sweep.plan))


def _add(session: Session, plan: Plan, idempotency: Idempotency | None) -> Sweep:
    given: Mapping[str, Any] = plan.model_dump(mode="json", by_alias=True, exclude_unset=True)
    storable.refuse(given, "plan")
    at = clock.read(session)
    sweep = Sweep(
        id=ids.new("sweep", at),
        name=plan.name,
        plan=dict(given),
        planned=plan.planned,
        max_parallel=plan.parallel,
        max_run_seconds=plan.budget.max_run_seconds,
        state=SweepState.RUNNING,
        idempotency_key=idempotency and idempotency.key,
        idempotency_digest=idempotency and idempotency.digest,
        created_at=at,
        updated_at=at,
    )
    session.add(sweep)
    session.flush()
    return sweep
