"""A run, whole: what both modes share, and what each has of its own."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.spec.names import Arch, DatasetName
from kd.spec.objective import Objective
from kd.spec.part import Part
from kd.spec.recipe import EMA_SAYS, Augmentation, BatchSize, EmaDecay, Epochs, Optimizer, Schedule
from kd.spec.resources import Resources
from kd.spec.rounds import Rounds
from kd.spec.teacher import AnyTeacher, Teacher, TeacherOfJob


class Student(Part):
    arch: Arch = "mlp"


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Config(Part):
    """What both modes share: data, models and the student's recipe."""

    dataset: DatasetName = "mnist5k"
    validation_fraction: float = Field(
        default=0.1, ge=0.01, le=0.5, description="share of the training images kept for choosing the best epoch"
    )
    teacher: AnyTeacher = Teacher()
    student: Student = Student()
    objective: Objective = Objective()
    epochs: Epochs = Field(default=30, description="student epochs; the control gets as many")
    batch_size: BatchSize = 64
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: EmaDecay | None = Field(default=None, description=EMA_SAYS)
    augmentation: Augmentation = Field(
        default=None,  # type: ignore[assignment]  # filled in before validation, from the data set
        description="defaults to what suits the data set",
        json_schema_extra=_without_default,
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on CUDA, fp32 on CPU")
    resources: Resources = Resources()
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    control: bool = Field(default=True, description="also train the same student without a teacher")
    checkpoint_seconds: float = Field(
        default=10, ge=0, le=86_400, description="at most this much work is lost when a worker dies"
    )

    @model_validator(mode="before")
    @classmethod
    def _augmentation_that_suits_the_data(cls, given: Any) -> Any:
        # Not a default factory: it would add a complaint of its own whenever another field is wrong.
        if not isinstance(given, dict) or not isinstance(given.get("augmentation", {}), dict):
            return given
        # An unknown data set is reported by its own field; here anything valid will do.
        facts = DATASETS.get(str(given.get("dataset")), DATASETS["mnist5k"])
        suits = {"crop_padding": facts.crop_padding, "flip": facts.flip}
        if packed_facts.is_packed(str(given.get("dataset"))):
            suits = {"crop_padding": 0, "flip": False}  # nobody said how large its images are, nor what they show
        return {**given, "augmentation": suits | given.get("augmentation", {})}

    @model_validator(mode="after")
    def _something_of_the_image_is_left(self) -> Self:
        facts = DATASETS.get(self.dataset)
        if facts is not None and (fault := self.crop_fault(facts.height, facts.width)):
            raise PydanticCustomError("crop_padding", "{fault}", {"fault": fault})
        return self

    def crop_fault(self, height: int, width: int) -> str | None:
        """What is wrong with crops of images of this size, if anything is. Of packed ones the spec does not know it."""
        of_teacher = self.teacher.augmentation if isinstance(self.teacher, Teacher) else None
        limit = min(height, width) // 2
        for whose, augmentation in (("augmentation", self.augmentation), ("teacher.augmentation", of_teacher)):
            if augmentation is not None and augmentation.crop_padding > limit:
                return f"{whose}.crop_padding must be at most {limit}, half of the side of an image of {self.dataset}"
        return None

    @model_validator(mode="after")
    def _every_gpu_has_its_share(self) -> Self:
        sizes = [("batch_size", self.batch_size)]
        if isinstance(self.teacher, Teacher):
            sizes.append(("teacher.batch_size", self.teacher.batch_size))
        for whose, size in sizes:
            if size < 2 * self.resources.gpus:
                raise PydanticCustomError(
                    "share",
                    "{whose} must be at least {least}, two images for each of the GPUs",
                    {"whose": whose, "least": 2 * self.resources.gpus},
                )
        return self

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        recipes = [(self.schedule, self.epochs, "schedule")]
        if isinstance(self.teacher, Teacher):
            recipes.append((self.teacher.schedule, self.teacher.epochs, "teacher.schedule"))
        for recipe, epochs, whose in recipes:
            if recipe.warmup_epochs >= epochs and recipe.warmup_epochs > 0:
                raise PydanticCustomError(
                    "warmup", "{whose}: the warm-up must end before epoch {epochs}", {"whose": whose, "epochs": epochs}
                )
        return self


class TrainConfig(Config):
    views: Annotated[int, Field(ge=1, le=4_096)] | Literal["all"] = Field(
        default=4,
        description="distinct views labelled per image, as far as there are so many; 'all' is every crop and flip",
    )

    @model_validator(mode="after")
    def _all_is_a_number(self) -> Self:
        if self.views == "all" and self.augmentation.endless:
            raise PydanticCustomError(
                "views", "views 'all' needs a complete set; strong and mixed views have no end: give a number"
            )
        return self


class GuideConfig(Config):
    rounds: Rounds = Rounds()

    @model_validator(mode="after")
    def _a_route_is_a_training(self) -> Self:
        if self.rounds.teacher == "route" and isinstance(self.teacher, TeacherOfJob):
            raise PydanticCustomError(
                "route",
                "rounds.teacher 'route' needs a teacher that is trained here: anchors are saved along its training",
            )
        return self


class TrainSpec(Part):
    """The teacher labels the data once; the student trains on the labels."""

    mode: Literal["train"]
    config: TrainConfig


class GuideSpec(Part):
    """The teacher guides: every few epochs it labels fresh views of the data at the student's side."""

    mode: Literal["guide"]
    config: GuideConfig


Spec = Annotated[TrainSpec | GuideSpec, Field(discriminator="mode")]
_SPEC: TypeAdapter[TrainSpec | GuideSpec] = TypeAdapter(Spec)


def parse(given: dict[str, Any] | str | bytes) -> TrainSpec | GuideSpec:
    """A spec from a mapping or from JSON text; pydantic's ValidationError names every problem."""
    if isinstance(given, dict):
        return _SPEC.validate_python(given)
    return _SPEC.validate_json(given)
