"""`Idempotency-Key`: a request that is sent again, because its answer was lost, makes no second job."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.http.problems import Invalid
from jobs.database.engine import Sessions
from jobs.queue import submit
from jobs.queue.submit import Idempotency
from jobs.tables import Job
from kd.spec.faults import Fault

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


async def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        why = "should be 1 to 255 visible ASCII characters without spaces, such as a UUID"
        raise Invalid([Fault(f"/{HEADER}", why, "header")])
    return key


Key = Annotated[str | None, Depends(_key)]


def asked(key: str | None, path: str, body: Any) -> Idempotency | None:
    """The key with a digest of the request: the order of its fields and its spaces do not matter."""
    if key is None:
        return None
    canonical = json.dumps([path, body], sort_keys=True, separators=(",", ":"))
    return Idempotency(key, hashlib.sha256(canonical.encode()).hexdigest())


def replayed(db: Sessions, request: Idempotency | None) -> Job | None:
    """The job that this very request has made before. Raises `KeyReused` if another one has come with its key."""
    if request is None:
        return None
    with db.read() as session:
        return submit.made_before(session, request)


def once(db: Sessions, request: Idempotency | None, make: Callable[[Session], Job]) -> tuple[Job, bool]:
    """The job that `make` adds, or that somebody with the same request has added a moment ago; whether it is ours."""
    try:
        return _committed(db, make), True
    except IntegrityError:
        if (before := replayed(db, request)) is not None:
            return before, False
        return _committed(db, make), True  # that job has been deleted since


def _committed(db: Sessions, make: Callable[[Session], Job]) -> Job:
    with db.begin() as session:
        return make(session)
