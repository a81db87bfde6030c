"""Parts of lists, and the query that asks for one."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from api.http.queries import Query

Item = TypeVar("Item")


class PageQuery(Query):
    """Which part of a list is wanted."""

    is_cursor: ClassVar[Callable[[str], bool]]
    """Whether we could have made this cursor: anything else never reaches the database."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, description="`next_cursor` of the page before")

    @field_validator("after")
    @classmethod
    def _made_by_us(cls, given: str | None) -> str | None:
        if given is not None and not cls.is_cursor(given):
            raise PydanticCustomError("cursor", "is no cursor; take `next_cursor` from the page before")
        return given


class Page(BaseModel, Generic[Item]):
    """A part of a list. With `has_more`, ask again with `after` = `next_cursor`."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next_cursor: str | None


def page(data: Sequence[Item], next_cursor: str | None = None) -> Page[Item]:
    return Page(object="list", data=list(data), has_more=next_cursor is not None, next_cursor=next_cursor)
