"""Parts of lists that are too long to be shown at once."""

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, false
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs.database import storable

Item = TypeVar("Item")

MOST_BYTES = 256_000
"""What a page may hold: many ask at once, and some never read what they asked for."""
READ_AT_ONCE = 20


@dataclass(frozen=True)
class Page(Generic[Item]):
    items: list[Item]
    next_cursor: str | None
    """Where the next page goes on; None: this is the last one."""


def cut(
    found: Iterable[Item], limit: int, cursor: Callable[[Item], str], weigh: Callable[[Item], int] = lambda item: 0
) -> Page[Item]:
    """The first of what was found: at most `limit`, and, after the first one, no more once they weigh `MOST_BYTES`."""
    items: list[Item] = []
    weight = 0
    for item in found:
        if len(items) == limit or weight >= MOST_BYTES:
            return Page(items, cursor(items[-1]))
        items.append(item)
        weight += weigh(item)
    return Page(items, None)


def newest_first(found: Select[Item], id: InstrumentedAttribute[str], *, limit: int, after: str | None) -> Select[Item]:
    """Rows by their ids, which sort by their age, from after the last one seen; one too many, if there are more.

    A page never repeats or skips a row, also when that of its cursor was deleted.
    """
    if after is not None:
        found = found.where(id < after if storable.is_storable(after) else false())
    return found.order_by(id.desc()).limit(limit + 1)


def read(
    session: Session,
    found: Select[Item],
    limit: int,
    cursor: Callable[[Item], str],
    weigh: Callable[[Item], int] = lambda item: 0,
) -> Page[Item]:
    """The page that a statement of `newest_first` finds."""
    # In parts: of rows that are very large it reads few more than it shows.
    options = {"populate_existing": True, "yield_per": READ_AT_ONCE}
    with closing(session.execute(found, execution_options=options)) as rows:
        return cut(rows.scalars(), limit, cursor, weigh)


def json_bytes(*documents: Any) -> int:
    """About what these take in an answer."""
    return sum(len(json.dumps(document)) for document in documents)
