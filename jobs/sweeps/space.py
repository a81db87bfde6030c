"""The space of a sweep: which values its fields may have, and where in it a member is.

A point is a plain mapping, `{"config.optimizer.lr": 0.01}`: what a member has of its own.
"""

import itertools
import math
import random
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from kd.spec import Part

MOST_VALUES = 500

FIELD = r"^config(\.[a-z][a-z0-9_]*)+$"
Point = dict[str, Any]


def _field(name: str) -> str:
    if not re.fullmatch(FIELD, name):
        raise PydanticCustomError("field", "is no field of a spec; they look like config.optimizer.lr")
    return name


FieldName = Annotated[str, Field(max_length=200), AfterValidator(_field)]
Values = Annotated[list[JsonValue], Field(min_length=1, max_length=MOST_VALUES)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
IntegerRange = Annotated[list[int], Field(min_length=2, max_length=2)]


class Domain(Part):
    """What one field may be; exactly one of these."""

    grid: Values | None = Field(default=None, description="each of these values")
    choice: Values | None = Field(default=None, description="one of these values")
    uniform: Range | None = Field(default=None, description="a number between two others")
    log_uniform: Range | None = Field(default=None, description="the same, each order of magnitude as likely")
    integer: IntegerRange | None = Field(default=None, alias="int", description="an integer from the first to the last")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_dump(exclude_none=True, by_alias=True)
        if len(given) != 1:
            kinds = ", ".join(field.alias or name for name, field in Domain.model_fields.items())
            raise PydanticCustomError("domain", "should have exactly one of {kinds}", {"kinds": kinds})
        if any(value in (self.values or [])[:place] for place, value in enumerate(self.values or [])):
            raise PydanticCustomError("twice", "has a value twice")
        ends = self.uniform or self.log_uniform or self.integer
        if ends and ends[0] >= ends[1]:
            raise PydanticCustomError("range", "should begin below its end")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise PydanticCustomError("log_range", "should begin above 0, where a logarithm begins")
        return self

    @property
    def values(self) -> list[JsonValue] | None:
        """All of them; None: there is no end of them."""
        return self.grid or self.choice

    @property
    def extremes(self) -> list[Any]:
        """All values, or the ends of the range."""
        return list(self.values or self.uniform or self.log_uniform or self.integer or [])

    def draw(self, chance: random.Random) -> Any:
        if self.values:
            return chance.choice(self.values)
        if self.integer:
            return chance.randint(*self.integer)
        if self.uniform:
            return chance.uniform(*self.uniform)
        assert self.log_uniform is not None, "it has one kind"
        low, high = self.log_uniform
        return min(max(math.exp(chance.uniform(math.log(low), math.log(high))), low), high)


Space = Mapping[str, Domain]


def grid_size(space: Space) -> int:
    return math.prod(len(domain.values or ()) for domain in space.values())


def grid_point(space: Space, number: int) -> Point:
    """The `number`th combination, from 1; the last field changes fastest."""
    place, point = number - 1, {}
    for name, domain in reversed(list(space.items())):
        values = domain.values or []
        place, index = divmod(place, len(values))
        point[name] = values[index]
    return {name: point[name] for name in space}


def random_point(space: Space, seed: int, number: int) -> Point:
    """The same for the same seed and number, whoever draws it and whenever."""
    chance = random.Random(f"{seed}:{number}")
    return {name: domain.draw(chance) for name, domain in space.items()}


def corners(space: Space) -> list[Point]:
    """Points in which every value occurs, and both ends of every range; beside the first of all others, and beside the
    last."""
    extremes = {name: domain.extremes for name, domain in space.items()}
    found = []
    for rest, (name, values) in itertools.product((0, -1), extremes.items()):
        others = {other: of_other[rest] for other, of_other in extremes.items()}
        found += [others | {name: value} for value in values]
    return found


def words(point: Point) -> str:
    """A point in a sentence."""
    return ", ".join(f"{name} {_short(value)}" for name, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:60]
