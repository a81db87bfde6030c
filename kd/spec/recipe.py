"""How a model learns: optimizer and schedule."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.part import Part, refuse_idle, was_accepted, without_default

Epochs = Annotated[int, Field(ge=1, le=10_000)]

BatchSize = Annotated[int, Field(ge=2, le=65_536)]

GradientAccumulation = Annotated[int, Field(ge=1, le=1_024)]
ACCUMULATION_SAYS = (
    "pieces in which a batch goes through the model, one after the other: it takes less memory for longer"
)

EmaDecay = Annotated[float, Field(gt=0, lt=1)]
EMA_SAYS = (
    "decay of an exponential moving average of the weights, which is what is evaluated and kept; none: no average"
)


def least_images(gpus: int, pieces: int) -> int:
    """What a batch must have: two images for each piece of it on each GPU, since batch normalisation has no variance
    of a single one."""
    return 2 * gpus * pieces


class Optimizer(Part):
    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(
        default=0.05,
        gt=0,
        le=10,
        description="the rate at its peak; defaults to the recipe's",
        json_schema_extra=without_default,
    )
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD only")
    nesterov: bool = Field(default=False, description="SGD only")
    clip_norm: float | None = Field(default=None, gt=0, le=1e6, description="clip the gradient's norm to this")

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        if self.name != "sgd":
            refuse_idle(self, info, "momentum", "nesterov", acts_with="name 'sgd'")
        return self

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise PydanticCustomError("nesterov", "nesterov needs a momentum above 0")
        return self


class Schedule(Part):
    """The learning rate over the run: a linear warm-up, then `name`."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0, ge=0, le=1_000)
    milestones: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        default=(),
        strict=False,  # JSON has lists, no tuples
        max_length=20,
        description="step only: epochs after which the rate is multiplied by gamma",
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="step only")

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        if self.name != "step":
            refuse_idle(self, info, "milestones", "gamma", acts_with="name 'step'")
        elif self.gamma == 1 and not was_accepted(info):
            raise PydanticCustomError("gamma", "a gamma of 1 leaves the rate as it is: use name 'constant'")
        return self

    @model_validator(mode="after")
    def _step_needs_milestones(self) -> Self:
        if self.name == "step" and not self.milestones:
            raise PydanticCustomError("milestones", "a step schedule needs milestones, such as [150, 180, 210]")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise PydanticCustomError("milestones", "milestones must rise, each epoch once")
        return self
