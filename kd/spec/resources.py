"""What a run wants of the machine."""

from typing import Literal

from pydantic import Field

from kd.spec.part import Part


class Resources(Part):
    """What a run wants of the machine."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    gpus: int = Field(default=1, ge=1, le=64, description="train on so many at once, each on its share of every batch")
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="gigabytes of the machine's memory: a worker with as much takes the run, and it may use no more",
    )
