"""What a run needs of a machine, and what a worker offers: a job goes only to a worker that suits it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from jobs.tables import Job
from kd.spec import GuideSpec, TrainSpec


@dataclass(frozen=True)
class Needs:
    gpus: int
    memory_bytes: int


@dataclass(frozen=True)
class Offer:
    """What a worker has: GPUs that its trainers can use, and memory that they may use."""

    gpus: int
    memory_bytes: int
    gpu_names: Sequence[str] = ()


def needs_of(spec: TrainSpec | GuideSpec) -> Needs:
    """A run that asks for no device in particular is content with a CPU, unless it is to train on several GPUs."""
    wanted = spec.config.resources
    on_gpus = wanted.device == "cuda" or (wanted.device == "auto" and wanted.gpus > 1)
    return Needs(
        gpus=wanted.gpus if on_gpus else 0,
        memory_bytes=0 if wanted.memory_gb is None else round(wanted.memory_gb * 1e9),
    )


def suits(offer: Offer, job: type[Job] = Job) -> tuple[ColumnElement[bool], ...]:
    """The conditions under which a worker with this offer may take a job."""
    return job.needs_gpus <= offer.gpus, job.needs_memory_bytes <= offer.memory_bytes


def fits(job: Job, offer: Offer) -> bool:
    """The same of a job that was read."""
    return job.needs_gpus <= offer.gpus and job.needs_memory_bytes <= offer.memory_bytes
