"""What a job has made: checkpoints and other files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from api.http.numbers import Numbers
from api.jobs.views import job_url
from jobs import tables as module


class CheckpointUrls(BaseModel):
    self: str
    download: str


class Checkpoint(BaseModel):
    id: str
    object: Literal["checkpoint"]
    job_id: str
    attempt: int
    phase: str
    step: int
    epoch: int
    best: bool
    pinned: bool
    metrics: Numbers
    file: str
    size: int
    sha256: str
    created_at: datetime
    urls: CheckpointUrls


class ArtifactUrls(BaseModel):
    download: str


class Artifact(BaseModel):
    object: Literal["artifact"]
    job_id: str
    name: str
    size: int
    sha256: str
    created_at: datetime
    urls: ArtifactUrls


def student(row: module.Checkpoint) -> module.File:
    assert row.student, "only checkpoints with a student are shown"
    return row.student


def checkpoint(row: module.Checkpoint) -> Checkpoint:
    weights = student(row)
    here = f"{job_url(row.job_id)}/checkpoints/{row.id}"
    return Checkpoint(
        id=row.id,
        object="checkpoint",
        job_id=row.job_id,
        attempt=row.attempt,
        phase=row.phase,
        step=row.step,
        epoch=row.epoch,
        best=row.best,
        pinned=row.pinned,
        metrics=row.metrics,
        file=weights.name,
        size=weights.size,
        sha256=weights.sha256,
        created_at=row.created_at,
        urls=CheckpointUrls(self=here, download=f"{here}/download"),
    )


def artifact(row: module.File) -> Artifact:
    return Artifact(
        object="artifact",
        job_id=row.job_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        created_at=row.created_at,
        urls=ArtifactUrls(download=f"{job_url(row.job_id)}/artifacts/{row.name}"),
    )
