"""How `guide` alternates."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.part import Part, refuse_idle
from kd.spec.recipe import Epochs


class Route(Part):
    """Anchors saved along the teacher's own training guide the first rounds, in their order (Jin et al., 2019)."""

    anchors: int = Field(default=4, ge=1, le=16, description="how many, evenly spaced up to the teacher's best epoch")
    share: float = Field(default=0.6, gt=0, le=1, description="of the rounds that anchors guide; the best one the rest")


class Cotrain(Part):
    """The teacher keeps learning between rounds, pulled toward the student (after Shi et al., 2021)."""

    epochs: float = Field(default=0.25, gt=0, le=10, description="of the training images, before each round")
    lr: float = Field(default=0.005, gt=0, le=10, description="the teacher's learning rate, SGD with momentum 0.9")
    pull: float = Field(default=0.5, ge=0, le=1_000, description="weight of T²·KL(student‖teacher) beside the labels")


class Rounds(Part):
    """How `guide` alternates: the teacher labels `views` fresh views, the student trains `epochs` on them."""

    epochs: Epochs = Field(default=3, description="student epochs in a round")
    views: int = Field(default=3, ge=1, le=1_000, description="fresh views of each image in a round")
    teacher: Literal["fixed", "route", "cotrain"] = Field(
        default="fixed",
        description="who guides: its best checkpoint, anchors along its training, or one that keeps learning",
    )
    route: Route = Route()
    cotrain: Cotrain = Cotrain()

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        for kind in ("route", "cotrain"):
            if self.teacher != kind:
                refuse_idle(self, info, kind, acts_with=f"teacher '{kind}'")
        return self

    @model_validator(mode="after")
    def _every_view_is_shown(self) -> Self:
        if self.views > self.epochs:
            raise PydanticCustomError(
                "views", "a round of {epochs} epochs shows at most {epochs} views of an image", {"epochs": self.epochs}
            )
        return self
