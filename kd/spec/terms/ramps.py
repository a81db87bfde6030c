"""Weights and temperatures: numbers of an objective, and how they may change in the course of training."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from kd.spec.part import Part

Weight = Annotated[float, Field(ge=0, le=1_000)]
Temperature = Annotated[float, Field(ge=0.01, le=1_000)]
Temperatures = Annotated[tuple[Temperature, ...], Field(strict=False, min_length=2, max_length=16)]


class Ramp(Part):
    """A number that goes from `start` to `end` in a straight line, and stays there."""

    start: float
    end: float
    epochs: float | None = Field(
        default=None, gt=0, le=10_000, description="within so many epochs of the student; none: within all of them"
    )

    def at(self, epoch: float, epochs: int) -> float:
        """Its value at a place in a training of so many `epochs`; `epoch` counts those behind it, and parts of one."""
        way = min(epoch / (self.epochs or epochs), 1.0)
        return self.start + (self.end - self.start) * way


class WeightRamp(Ramp):
    start: Weight
    end: Weight


class TemperatureRamp(Ramp):
    start: Temperature
    end: Temperature


def _shape(given: object) -> str:
    """Which of the alternatives is meant, so that what is wrong is said of that one alone."""
    return "several" if isinstance(given, list | tuple) else _one_or_ramp(given)


def _one_or_ramp(given: object) -> str:
    return "ramp" if isinstance(given, dict | Ramp) else "number"


AnyWeight = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[WeightRamp, Tag("ramp")], Discriminator(_one_or_ramp)
]
AnyTemperature = Annotated[
    Annotated[Temperature, Tag("number")]
    | Annotated[Temperatures, Tag("several")]
    | Annotated[TemperatureRamp, Tag("ramp")],
    Discriminator(_shape),
]


def is_zero(weight: float | WeightRamp) -> bool:
    """Whether it is 0, and stays so."""
    return weight.start == weight.end == 0 if isinstance(weight, WeightRamp) else weight == 0
