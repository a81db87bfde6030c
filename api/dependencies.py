"""What routes ask for, as Annotated types. Async, so that handing over what is there costs no thread."""

from typing import Annotated

from fastapi import Depends, Request

from api.live import lanes, lookout, readiness
from jobs import ids, settings
from jobs.database.engine import Sessions
from jobs.doorbell import notifier
from jobs.errors import JobNotFound


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


async def _readiness(request: Request) -> readiness.Readiness:
    found: readiness.Readiness = request.app.state.readiness
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
Readiness = Annotated[readiness.Readiness, Depends(_readiness)]
JobId = Annotated[str, Depends(_job_id)]
