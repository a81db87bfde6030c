"""What an export is asked to do: to make a file of a student that runs elsewhere, and to see that it says the same."""

from typing import Literal

from pydantic import Field

from kd.spec.brought import TeacherOfJob
from kd.spec.config import InputSize, ValidationFraction
from kd.spec.names import DatasetName
from kd.spec.part import Part

Format = Literal["onnx"]


class Export(Part):
    """As the fields of `POST /jobs/{id}/exports`."""

    format: Format = Field(default="onnx", description="one file for onnxruntime, and for whatever reads ONNX")
    preprocessing: bool = Field(
        default=True,
        description="within the file: it takes uint8 pixels and gives probabilities; else it takes normalised float32 "
        "and gives logits",
    )
    loses_at_most: float = Field(
        default=0.005,
        ge=0,
        le=1,
        description="of the accuracy on test images, 0.005 is half a point; a file that loses more is not offered",
    )
    images: int = Field(
        default=2_000, ge=1, le=100_000, description="of the test split, at most, on which the two are compared"
    )


class ExportConfig(Export):
    """With all that it takes from the job whose student it is."""

    model: TeacherOfJob = Field(description="whose model leaves")
    dataset: DatasetName
    validation_fraction: ValidationFraction = 0.1
    input_size: InputSize = None


class ExportSpec(Part):
    """Light work, which runs beside a distillation and not after it."""

    mode: Literal["export"] = "export"
    config: ExportConfig
