"""What an evaluation is asked to do: to say how good a teacher is that somebody has brought, before anybody learns of
it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from kd.data import parts
from kd.spec.brought import TeacherUploaded
from kd.spec.config import InputSize, ValidationFraction
from kd.spec.names import DatasetName
from kd.spec.part import Part


def _each_once(splits: tuple[parts.Name, ...]) -> tuple[parts.Name, ...]:
    if len(set(splits)) < len(splits):
        raise PydanticCustomError("splits", "names a split twice")
    return splits


class Evaluate(Part):
    """As the options of `kd teacher evaluate`."""

    dataset: DatasetName = Field(description="whose images it is shown")
    splits: Annotated[
        tuple[parts.Name, ...], Field(min_length=1, max_length=3, strict=False), AfterValidator(_each_once)
    ] = Field(
        default=("validation", "test"),
        description="which of them; those to learn from may be many, and say most of labels that are mistaken",
    )
    validation_fraction: ValidationFraction = 0.1
    input_size: InputSize = None


class EvaluateConfig(Evaluate):
    teacher: TeacherUploaded


class EvaluateSpec(Part):
    """Light work, which runs beside a distillation and not after it."""

    mode: Literal["evaluate"] = "evaluate"
    config: EvaluateConfig
