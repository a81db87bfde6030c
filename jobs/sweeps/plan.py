"""What a sweep is asked to be: a spec, the space around it, who chooses the points, and how much it may cost."""

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from jobs.envelope import Envelope, Seconds
from jobs.sweeps import space
from jobs.sweeps.space import Domain, FieldName, Point
from kd.spec import Part

MOST_JOBS = 500
MOST_FIELDS = 16

LABEL = "sweep"
"""Which every member has, with the sweep's id."""


class Budget(Part):
    """What a sweep may cost."""

    max_jobs: int | None = Field(
        default=None, ge=1, le=MOST_JOBS, description="members, all in all; of a grid: every combination"
    )
    max_parallel: int | None = Field(
        default=None, ge=1, le=MOST_JOBS, description="that wait or run; none: all at once, and for tpe one"
    )
    max_run_seconds: Seconds | None = Field(
        default=None, description="of training, over all members; then no further one begins"
    )


class Pruning(Part):
    """End a member whose student is worse, on the validation split, than most others were at the same epoch."""

    min_others: int = Field(default=4, ge=1, le=MOST_JOBS, description="so many must have come as far")
    warmup_epochs: int = Field(default=3, ge=0, le=10_000, description="in which nobody is judged")


class Plan(Envelope):
    """A sweep as it is asked for. Its envelope is that of its members; its `name`, with a number, is their name."""

    mode: Literal["train", "guide"]
    config: dict[str, Any] = Field(default={}, description="what all members have in common")
    space: dict[FieldName, Domain] = Field(
        min_length=1,
        max_length=MOST_FIELDS,
        description="fields that differ",
        json_schema_extra={"propertyNames": {"pattern": space.FIELD}},
    )
    sampler: Literal["grid", "random", "tpe"] | None = Field(
        default=None, description="who chooses the points; default: grid where every field is one, else random"
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="of the sampler")
    budget: Budget = Budget()
    pruning: Pruning | None = None
    share_teacher: bool = Field(
        default=True, description="the first member trains the teacher, and the others take it and its labels"
    )

    @field_validator("space")
    @classmethod
    def _fields_beside_one_another(cls, given: dict[str, Domain]) -> dict[str, Domain]:
        for name in given:
            if inner := next((other for other in given if other.startswith(f"{name}.")), None):
                raise PydanticCustomError(
                    "nested", "{inner} is a part of {name}: sweep one of the two", {"inner": inner, "name": name}
                )
        return given

    @field_validator("labels")
    @classmethod
    def _one_label_is_ours(cls, given: dict[str, str]) -> dict[str, str]:
        if LABEL in given:
            raise PydanticCustomError("label", "every member has a label sweep already, with the sweep's id")
        return given

    @property
    def chooser(self) -> str:
        """The sampler, chosen or not."""
        everywhere_a_grid = all(domain.grid for domain in self.space.values())
        return self.sampler or ("grid" if everywhere_a_grid else "random")

    @property
    def planned(self) -> int:
        """How many members there will be at most."""
        return space.grid_size(self.space) if self.chooser == "grid" else self.budget.max_jobs or 0

    @property
    def parallel(self) -> int:
        return self.budget.max_parallel or (1 if self.chooser == "tpe" else self.planned)

    def point(self, number: int) -> Point:
        """Where the member is; for tpe see `jobs.sweeps.sampling`."""
        if self.chooser == "grid":
            return space.grid_point(self.space, number)
        return space.random_point(self.space, self.seed, number)

    def envelope(self, sweep_id: str, number: int) -> Envelope:
        """Of a member's job. (Not validated: it has one label more than users may give.)"""
        common = {name: getattr(self, name) for name in Envelope.model_fields}
        own = {"name": self.name and f"{self.name} {number}", "labels": self.labels | {LABEL: sweep_id}}
        return Envelope.model_construct(**common | own)
