"""What is said of an ONNX model: by the file itself, and by the run that it is to teach. No torch, no onnx."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kd.models.preprocess.said import Colour, Preprocess


class Graph(BaseModel):
    """What the file says of itself, once it was looked through."""

    model_config = ConfigDict(frozen=True)

    input: str
    output: str
    integers: bool = Field(description="its pixels are uint8 in 0..255, and it does the rest itself")
    half: bool = Field(description="its pixels are float16")
    channels_last: bool
    channels: int
    size: tuple[int, int] | None = Field(description="height, width; none: any")
    batch: int | None = Field(description="images at a time; none: any")
    classes: int | None = Field(description="numbers of an answer; none: only an answer tells")
    parameters: int
    macs: int = Field(description="multiply-accumulates for one image; 0: nobody can tell")
    opset: int


class Settings(BaseModel):
    """All that the network needs besides the file."""

    model_config = ConfigDict(frozen=True)

    graph: Graph
    preprocess: Preprocess
    size: tuple[int, int] = Field(description="height, width that it sees")
    given_mean: Colour = Field(description="of the data set, whose networks see (pixel / 255 − mean) / std")
    given_std: Colour
    order: tuple[int, ...] | None = Field(
        default=None, description="which of its outputs is each class of the data set; none: they have the same order"
    )
    gives: Literal["logits", "probabilities"] = "logits"
