"""`Idempotency-Key`: a request that is sent again, because its answer was lost, makes no second job."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from api.http.problems import Invalid
from kd.spec.faults import Fault

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


async def _key(
    request: Request,
    idempotency_key: Annotated[str | None, Header(description="makes one job of what is sent again")] = None,
) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not KEY.fullmatch(key):
        why = "should be 1 to 255 visible ASCII characters without spaces, such as a UUID"
        raise Invalid([Fault(f"/{HEADER}", why, "header")])
    return key


Key = Annotated[str | None, Depends(_key)]
