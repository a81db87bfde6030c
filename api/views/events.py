"""What happened to a job."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from jobs import tables as module


class Event(BaseModel):
    seq: int
    type: str
    attempt: int
    at: datetime
    data: dict[str, Any]


def event(row: module.Event) -> Event:
    return Event(seq=row.seq, type=row.type, attempt=row.attempt, at=row.at, data=row.data)
