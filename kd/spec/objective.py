"""What the student is told to care about."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.part import Part

ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(strict=False, min_length=1, max_length=100_000)
]
Weight = Annotated[float, Field(ge=0, le=1_000)]


class Objective(Part):
    """loss = hard_weight · CE(student, label) + soft_weight · D(student, teacher)"""

    method: Literal["kd"] = "kd"
    temperature: float = Field(default=4, ge=0.01, le=1_000)
    hard_weight: Weight = 0.1
    soft_weight: Weight = 0.9
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        default=None,
        description="what an image counts in the labels' part of the loss, by its class: a number for each class, or "
        "'balanced', inversely to how common it is; for the student, the control, and a teacher that is trained here",
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.hard_weight == 0 and self.soft_weight == 0:
            raise PydanticCustomError("weights", "hard_weight and soft_weight are both 0: there is nothing to learn")
        return self
