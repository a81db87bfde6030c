"""Who works."""

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from api.views.jobs import job_url
from jobs.workers.roster import Status, WorkerNow


class WorkerUrls(BaseModel):
    self: str
    drain: str
    undrain: str
    job: str | None


class Worker(BaseModel):
    """A process that runs jobs, as it last described itself."""

    name: str
    object: Literal["worker"]
    host: str
    pid: int
    version: str
    status: Status
    trouble: Annotated[str | None, Field(description="why it takes no job at the moment")]
    gpus: int
    gpu_names: list[str]
    memory_bytes: int
    job_id: Annotated[str | None, Field(description="what it works on")]
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    drain_requested_at: datetime | None
    urls: WorkerUrls


def worker(now: WorkerNow) -> Worker:
    here = f"/workers/{quote(now.name, safe='')}"
    return Worker(
        name=now.name,
        object="worker",
        host=now.host,
        pid=now.pid,
        version=now.version,
        status=now.status,
        trouble=now.trouble,
        gpus=now.offer.gpus,
        gpu_names=list(now.offer.gpu_names),
        memory_bytes=now.offer.memory_bytes,
        job_id=now.job_id,
        started_at=now.started_at,
        heartbeat_at=now.heartbeat_at,
        heartbeat_age_seconds=now.heartbeat_age_seconds,
        drain_requested_at=now.drain_requested_at,
        urls=WorkerUrls(
            self=here, drain=f"{here}/drain", undrain=f"{here}/undrain", job=now.job_id and job_url(now.job_id)
        ),
    )
