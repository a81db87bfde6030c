"""What routes ask for, as Annotated types. Async, so that handing over what is there costs no thread."""

from collections import Counter
from typing import Annotated, get_origin

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from api import errors, lanes, lookout
from jobs import ids, settings
from jobs.database.engine import Sessions
from jobs.doorbell import notifier
from jobs.errors import JobNotFound
from kd.spec.faults import Fault


async def _database(request: Request) -> Sessions:
    database: Sessions = request.app.state.database
    return database


async def _notifier(request: Request) -> notifier.Notifier:
    doorbell: notifier.Notifier = request.app.state.notifier
    return doorbell


async def _settings(request: Request) -> settings.Settings:
    found: settings.Settings = request.app.state.settings
    return found


async def _lookout(request: Request) -> lookout.Lookout:
    found: lookout.Lookout = request.app.state.lookout
    return found


async def _lanes(request: Request) -> lanes.Lanes:
    found: lanes.Lanes = request.app.state.lanes
    return found


async def _job_id(job_id: str) -> str:
    """An id that we could have made; anything else never reaches the database."""
    if not ids.is_id("job", job_id):
        raise JobNotFound(job_id[:100])
    return job_id


Database = Annotated[Sessions, Depends(_database)]
Notifier = Annotated[notifier.Notifier, Depends(_notifier)]
Settings = Annotated[settings.Settings, Depends(_settings)]
Lookout = Annotated[lookout.Lookout, Depends(_lookout)]
Lanes = Annotated[lanes.Lanes, Depends(_lanes)]
JobId = Annotated[str, Depends(_job_id)]


class Query(BaseModel):
    """The query parameters of a route: what is not listed is refused, like an unknown field."""

    model_config = ConfigDict(extra="forbid")


async def refuse_queries_nobody_reads(request: Request) -> None:
    """A filter that is ignored looks like one that matched everything: also the first of two with one name."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    read = request.scope["route"].dependant.query_params
    if given and not read:
        raise errors.Invalid([Fault(f"/{name}", "takes no query parameters", "query") for name in given])
    lists = {name for model in read for name in _lists(model.field_info.annotation)}
    if repeated := [name for name, times in given.items() if times > 1 and name not in lists]:
        raise errors.Invalid([Fault(f"/{name}", "can be given only once", "query") for name in repeated])


def _lists(model: type[Query]) -> list[str]:
    return [name for name, field in model.model_fields.items() if get_origin(field.annotation) is list]
