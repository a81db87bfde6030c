"""The query parameters of a route: what nobody reads is refused."""

from collections import Counter
from typing import Any, get_origin

from fastapi import Request
from pydantic import BaseModel, ConfigDict

from api.http import problems
from kd.spec.faults import Fault


class Query(BaseModel):
    """The query parameters of a route: what is not listed is refused, like an unknown field."""

    model_config = ConfigDict(extra="forbid")


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


def separate(given: Any) -> Any:
    """`?status=queued,running` is `?status=queued&status=running`."""
    return [part for text in given for part in str(text).split(",")] if isinstance(given, list) else given
