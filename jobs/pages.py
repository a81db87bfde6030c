"""Parts of lists that are too long to be shown at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Select, false
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs.database import storable

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    items: list[Item]
    next_cursor: str | None
    """Where the next page goes on; None: this is the last one."""


def cut(found: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Page[Item]:
    """The first `limit` of what was found, which may be more."""
    items = list(found[:limit])
    return Page(items, cursor(items[-1]) if len(found) > limit else None)


def newest_first(found: Select[Item], id: InstrumentedAttribute[str], *, limit: int, after: str | None) -> Select[Item]:
    """Rows by their ids, which sort by their age, from after the last one seen; one too many, if there are more.

    A page never repeats or skips a row, also when that of its cursor was deleted.
    """
    if after is not None:
        found = found.where(id < after if storable.is_storable(after) else false())
    return found.order_by(id.desc()).limit(limit + 1)


def read(session: Session, found: Select[Item], limit: int, cursor: Callable[[Item], str]) -> Page[Item]:
    """The page that a statement of `newest_first` finds."""
    rows = session.execute(found, execution_options={"populate_existing": True}).scalars()
    return cut(list(rows), limit, cursor)
