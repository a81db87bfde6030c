"""What users ask of a sweep as a whole. Its row is held meanwhile, so that no member is made that nobody asks."""

import contextlib
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock
from jobs.errors import NotAllowed, SweepNotFound
from jobs.queue import delete, requests
from jobs.states import FINAL, State
from jobs.tables import Job, Member, Sweep, SweepState

ACTIONS: dict[SweepState, tuple[str, ...]] = {
    SweepState.RUNNING: ("cancel", "pause"),
    SweepState.PAUSED: ("cancel", "resume"),
    SweepState.FINISHED: ("delete",),
    SweepState.CANCELLED: ("delete",),
}


def get_sweep(session: Session, sweep_id: str) -> Sweep:
    found = select(Sweep).where(Sweep.id == sweep_id).execution_options(populate_existing=True)
    sweep = session.execute(found).scalar_one_or_none() if ids.is_id("sweep", sweep_id) else None
    if sweep is None:
        raise SweepNotFound(sweep_id)
    return sweep


def cancel(session: Session, sweep_id: str, now: datetime | None = None) -> tuple[Sweep, bool]:
    """No further member is made, and all that have not ended are cancelled. False if that was done before."""
    changed = _move(session, sweep_id, "cancel", {SweepState.RUNNING, SweepState.PAUSED}, SweepState.CANCELLED, now)
    if changed:
        requests.cancel_all(session, _members(sweep_id), now)
    return get_sweep(session, sweep_id), changed


def pause(session: Session, sweep_id: str, now: datetime | None = None) -> tuple[Sweep, bool]:
    """No further member is made for now, and all that have not ended are paused."""
    changed = _move(session, sweep_id, "pause", {SweepState.RUNNING}, SweepState.PAUSED, now)
    if changed:
        for job_id in _ids(session, sweep_id, {State.QUEUED, State.RUNNING}):
            with contextlib.suppress(NotAllowed):  # it has ended this moment
                requests.pause(session, job_id, now)
    return get_sweep(session, sweep_id), changed


def resume(session: Session, sweep_id: str, now: datetime | None = None) -> tuple[Sweep, bool]:
    """All members that are paused go on, and further ones are made."""
    changed = _move(session, sweep_id, "resume", {SweepState.PAUSED}, SweepState.RUNNING, now)
    if changed:
        for job_id in _ids(session, sweep_id, {State.PAUSED, State.RUNNING}):
            with contextlib.suppress(NotAllowed):
                requests.resume(session, job_id, now)
    return get_sweep(session, sweep_id), changed


def delete_sweep(session: Session, sweep_id: str, now: datetime | None = None) -> list[str]:
    """Forget a sweep that is over and its jobs, but those that lend their teachers to others. Returns the jobs' ids;
    their folders go after the commit (`store.delete_jobs`). Raises `NotAllowed` while one has not ended."""
    sweep = _locked(session, sweep_id)
    alive = select(Job.id).where(*_members(sweep_id), Job.state.not_in(FINAL)).limit(1)
    if sweep.state not in (SweepState.FINISHED, SweepState.CANCELLED):
        raise NotAllowed(sweep_id, sweep.state, "delete", ACTIONS[sweep.state], what="Sweep")
    if session.execute(alive).first() is not None:
        raise NotAllowed(sweep_id, "still ending", "delete", (), what="Sweep")
    deleted = delete.delete_all(session, _members(sweep_id), now)
    session.delete(sweep)
    session.flush()
    return deleted


def _move(
    session: Session,
    sweep_id: str,
    action: str,
    before: Collection[SweepState],
    after: SweepState,
    now: datetime | None,
) -> bool:
    """Whether the sweep has moved; False if it was there. Raises `NotAllowed`."""
    sweep, at = _locked(session, sweep_id), clock.now_or(now)
    if sweep.state is after:
        return False
    if sweep.state not in before:
        raise NotAllowed(sweep_id, sweep.state, action, ACTIONS[sweep.state], what="Sweep")
    ends = {"finished_at": at} if after is SweepState.CANCELLED else {}
    session.execute(
        update(Sweep)
        .where(Sweep.id == sweep_id)
        .values(state=after, updated_at=at, **ends)
        .execution_options(synchronize_session=False)
    )
    return True


def _locked(session: Session, sweep_id: str) -> Sweep:
    session.execute(select(Sweep.id).where(Sweep.id == sweep_id).with_for_update())
    return get_sweep(session, sweep_id)


def _members(sweep_id: str) -> tuple[ColumnElement[bool], ...]:
    return (Job.id.in_(select(Member.job_id).where(Member.sweep_id == sweep_id)),)


def _ids(session: Session, sweep_id: str, states: Collection[State]) -> list[str]:
    found = select(Job.id).where(*_members(sweep_id), Job.state.in_(states)).order_by(Job.id)
    return list(session.execute(found).scalars())
