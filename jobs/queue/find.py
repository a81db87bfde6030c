"""Jobs that match a filter, newest first."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, exists, false, func, or_, select, union_all
from sqlalchemy.orm import Session

from jobs import ids, kinds, pages
from jobs.database import storable
from jobs.kinds import Kind
from jobs.pages import Page
from jobs.states import State
from jobs.tables import Job

T = TypeVar("T")


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant: without a `mode`, distillations. `label` is "key" or "key=value", `q` a part of the name,
    or the id."""

    states: Collection[State | str] = ()
    mode: str | None = None
    label: str | None = None
    q: str | None = None
    created_after: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.states or self.mode or self.label or self.q or self.created_after)


EVERY = Filter()


def list_jobs(session: Session, *, limit: int = 20, after: str | None = None, which: Filter = EVERY) -> Page[Job]:
    """Newest first. `after` is the id of the last job seen."""

    def newest(found: Select[T], which: Filter) -> Select[T]:
        return pages.newest_first(found.where(*matching(session, which)), Job.id, limit=limit, after=after)

    found = newest(select(Job), which)
    if len(states := set(which.states)) > 1:
        # An index has the jobs of each state in this order; those of several would all have to be sorted first.
        parts = [newest(select(Job.id), replace(which, states=[one])) for one in states]
        of_any = union_all(*(select(part.subquery().c.id) for part in parts))
        found = select(Job).where(Job.id.in_(of_any)).order_by(Job.id.desc()).limit(limit + 1)
    return pages.read(session, found, limit, lambda job: job.id, _weigh)


def _weigh(job: Job) -> int:
    # The resolved spec holds what is large in the other once more, and every default.
    return 4_000 + 2 * pages.json_bytes(job.spec, job.labels)


def matching(session: Session, which: Filter) -> list[ColumnElement[bool]]:
    """The filter as conditions for a WHERE."""
    if not all(storable.is_storable(text) for text in (which.mode, which.label, which.q) if text is not None):
        return [false()]  # what cannot be stored is nowhere
    found: list[ColumnElement[bool]] = []
    if which.states:
        found.append(Job.state.in_([State(state) for state in which.states]))
    if which.mode is None:
        found.append(Job.kind == Kind.DISTILLATION)
    else:
        found += [Job.kind == kinds.of(which.mode), Job.mode == which.mode]
    if which.label is not None:
        found.append(has_label(session, which.label))
    if which.q:
        found.append(or_(Job.name.icontains(which.q, autoescape=True), Job.id == which.q))
    if which.created_after is not None:
        # The id says nearly the same, and has an index.
        found += [Job.id >= ids.first_at("job", which.created_after), Job.created_at > which.created_after]
    return found


def has_label(session: Session, label: str) -> ColumnElement[bool]:
    """Whether a job has this label: "key" or "key=value"."""
    # Not Job.labels[key]: SQLite's JSON paths cannot quote every key.
    key, equals, value = label.partition("=")
    each = func.json_each if session.get_bind().dialect.name == "sqlite" else func.json_each_text
    pairs = each(Job.labels).table_valued("key", "value")
    wanted = [pairs.c.key == key] + ([pairs.c.value == value] if equals else [])
    return exists().select_from(pairs).where(*wanted)
