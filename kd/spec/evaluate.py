"""What an evaluation is asked to do: to say how good a teacher is that somebody has brought, before anybody learns of
it."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kd.data import parts
from kd.spec.brought import TeacherUploaded
from kd.spec.config import InputSize, ValidationFraction
from kd.spec.names import DatasetName
from kd.spec.part import Part

MOST_NUMBERS = 1 << 25
"""Of the answers of a split, which are all in memory at once, a few times over."""


def _each_once(splits: tuple[parts.Name, ...]) -> tuple[parts.Name, ...]:
    if len(set(splits)) < len(splits):
        raise PydanticCustomError("splits", "names a split twice")
    return tuple(name for name in parts.NAMES.values() if name in splits)  # in one order: the same is asked


class Evaluate(Part):
    """As the options of `kd teacher evaluate`."""

    dataset: DatasetName = Field(description="whose images it is shown")
    splits: Annotated[
        tuple[parts.Name, ...], Field(min_length=1, max_length=3, strict=False), AfterValidator(_each_once)
    ] = Field(
        default=("validation", "test"),
        description="which of them; those to learn from say most of labels that are mistaken",
    )
    images: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="of each split at most so many, drawn at random, the same ones each time; a large model takes a "
        "second or more for each",
    )
    validation_fraction: ValidationFraction = 0.1
    input_size: InputSize = None

    def too_much(self, classes: int) -> Iterator[tuple[str, str]]:
        """What is asked for that would not fit into memory: (field, why)."""
        if self.images * classes > MOST_NUMBERS:
            yield "images", f"may be at most {MOST_NUMBERS // classes:,} where there are {classes:,} classes"


class EvaluateConfig(Evaluate):
    teacher: TeacherUploaded


class EvaluateSpec(Part):
    """Light work, which runs beside a distillation and not after it."""

    mode: Literal["evaluate"] = "evaluate"
    config: EvaluateConfig
