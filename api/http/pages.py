"""Parts of lists, and the query that asks for one."""

import re
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from api.http.queries import Query

Item = TypeVar("Item")


def cursor(pattern: str) -> Any:
    """The `after` of a list. What we could not have made never reaches the database."""
    return Field(
        default=None,
        description="`next_cursor` of the page before",
        json_schema_extra={"pattern": f"^{pattern}$"},  # no constraint of the field: it has an answer of its own
    )


class PageQuery(Query):
    """Which part of a list is wanted."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None
    """A `cursor`."""

    @field_validator("after")
    @classmethod
    def _made_by_us(cls, given: str | None) -> str | None:
        shape: Any = cls.model_fields["after"].json_schema_extra
        if given is not None and not re.fullmatch(shape["pattern"], given):
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
