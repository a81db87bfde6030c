"""Jobs that match a filter, newest first."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, exists, false, func, or_, select, union_all
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import storable
from jobs.states import State
from jobs.tables import Job

T = TypeVar("T")


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
        found = found.where(Job.id < after if storable.is_storable(after) else false())
    return found


def matching(session: Session, which: Filter) -> list[ColumnElement[bool]]:
    """The filter as conditions for a WHERE."""
    if not all(storable.is_storable(text) for text in (which.mode, which.label, which.q) if text is not None):
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
