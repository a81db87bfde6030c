"""The query parameters of a route: what nobody reads is refused."""

import re
from collections import Counter
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http import problems
from kd.spec.faults import Fault

# Pydantic reads more than that: `+1` and `1_0` as numbers, `yes` as true, and `2026` as a moment in 1970, after which
# every job was created.
WRITTEN: dict[Any, tuple[re.Pattern[str], str]] = {
    int: (re.compile(r"-?[0-9]{1,19}"), "a whole number, in digits"),
    bool: (re.compile("true|false"), "true or false"),
    AwareDatetime: (
        # One offset may still have a space for its plus, which is dealt with where the moment is read.
        re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+\- ]\d\d:?\d\d)?", re.ASCII),
        "a moment as in 2026-01-15T12:00:00Z (RFC 3339)",
    ),
}


class Query(BaseModel):
    """The query parameters of a route: what is not listed is refused, like an unknown field."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_is_written(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, str) and (wanted := _written_as(cls.model_fields[info.field_name or ""].annotation)):
            pattern, words = WRITTEN[wanted]
            if not pattern.fullmatch(given):
                raise PydanticCustomError("written", "should be {words}", {"words": words})
        return given


async def refuse_queries_nobody_reads(request: Request) -> None:
    """A filter that is ignored looks like one that matched everything: also the first of two with one name."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    read = request.scope["route"].dependant.query_params
    if given and not read:
        raise problems.Invalid([Fault(f"/{name}", "takes no query parameters", "query") for name in given])
    lists = {name for model in read for name in _lists(model.field_info.annotation)}
    if repeated := [name for name, times in given.items() if times > 1 and name not in lists]:
        raise problems.Invalid([Fault(f"/{name}", "can be given only once", "query") for name in repeated])


def _lists(model: type[Query]) -> list[str]:
    return [name for name, field in model.model_fields.items() if get_origin(field.annotation) is list]


def _written_as(annotation: Any) -> Any:
    """Which of `WRITTEN` a field is, perhaps beside None, or with validators."""
    if isinstance(annotation, type) and annotation in WRITTEN:
        return annotation
    may_be = get_args(annotation) if get_origin(annotation) in (Annotated, Union, UnionType) else ()
    return next((found for found in map(_written_as, may_be) if found), None)


def separate(given: Any) -> Any:
    """`?status=queued,running` is `?status=queued&status=running`."""
    return [part for text in given for part in str(text).split(",")] if isinstance(given, list) else given
