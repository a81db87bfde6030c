"""Parts of lists."""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """A part of a list. With `has_more`, ask again with `after` = `next_cursor`."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next_cursor: str | None


def page(data: Sequence[Item], next_cursor: str | None = None) -> Page[Item]:
    return Page(object="list", data=list(data), has_more=next_cursor is not None, next_cursor=next_cursor)
