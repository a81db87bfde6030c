"""A run, whole: a mode, and a config with what that mode has of its own."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, TypeAdapter, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.brought import Brought, TeacherUploaded, start_of
from kd.spec.config import Config
from kd.spec.part import Part, context, was_accepted, without_default
from kd.spec.rounds import Rounds, Route
from kd.spec.teacher import Committee, Teacher, TeacherLabels, teachers_in


class TrainConfig(Config):
    _has_maps: ClassVar = False

    views: Annotated[int, Field(ge=1, le=4_096)] | Literal["all"] = Field(
        default=4,
        description="distinct views labelled per image, as far as there are so many; 'all' is every crop and flip; "
        "defaults to the recipe's",
        json_schema_extra=without_default,
    )

    @model_validator(mode="before")
    @classmethod
    def _labels_have_one_view(cls, given: Any) -> Any:
        teacher = given.get("teacher") if isinstance(given, dict) else None
        return {"views": 1, **given} if isinstance(teacher, dict) and "labels" in teacher else given

    @model_validator(mode="after")
    def _labels_are_of_whole_images(self) -> Self:
        if not isinstance(self.teacher, TeacherLabels):
            return self
        if self.views != 1:
            raise PydanticCustomError("views", "views must be 1 with teacher.labels, which are of images as they are")
        if self.objective.paired:
            raise PydanticCustomError(
                "labels",
                "objective.method cross_view compares what a teacher says of two views of an image, and labels that "
                "were pushed are of one: take another method",
            )
        if mixed := [name for name in ("mixup", "cutmix") if getattr(self.augmentation, name)]:
            raise PydanticCustomError(
                "labels",
                "augmentation.{mixed} blends two images, and labels that were pushed are of whole ones: leave it out",
                {"mixed": mixed[0]},
            )
        return self

    @model_validator(mode="after")
    def _all_is_a_number(self) -> Self:
        if self.views == "all" and self.augmentation.endless:
            raise PydanticCustomError(
                "views", "views 'all' needs a complete set; strong, mixed and resized views have no end: give a number"
            )
        return self


class GuideConfig(Config):
    rounds: Rounds = Rounds()

    @property
    def _asks_a_learning_teacher(self) -> bool:
        return self.rounds.teacher == "cotrain"

    @model_validator(mode="after")
    def _a_teacher_that_learns_on_has_a_second_round(self, info: ValidationInfo) -> Self:
        alone = self.rounds.teacher == "cotrain" and self.rounds.epochs >= self.epochs
        if alone and not was_accepted(info):
            raise PydanticCustomError(
                "cotrain",
                "rounds.teacher 'cotrain' would do nothing here: it learns between rounds, and there is only one; "
                "rounds.epochs must be below epochs, which is {epochs}",
                {"epochs": self.epochs},
            )
        return self

    @model_validator(mode="after")
    def _a_teacher_that_learns_on_has_one_temperature(self) -> Self:
        if self.rounds.teacher == "cotrain" and not isinstance(self.objective.temperature, int | float):
            raise PydanticCustomError(
                "cotrain",
                "objective.temperature must be one number with rounds.teacher 'cotrain', which is pulled by it as well",
            )
        return self

    @model_validator(mode="after")
    def _somebody_guides(self) -> Self:
        if isinstance(self.teacher, TeacherLabels):
            raise PydanticCustomError(
                "labels", "teacher.labels cannot guide: in 'guide' a teacher labels fresh views; use mode 'train'"
            )
        return self

    @model_validator(mode="after")
    def _a_committee_guides_as_it_is(self) -> Self:
        if self.rounds.teacher != "fixed" and isinstance(self.teacher, Committee):
            raise PydanticCustomError(
                "committee",
                "rounds.teacher '{kind}' needs a single teacher: a committee guides as it is, which is 'fixed'",
                {"kind": self.rounds.teacher},
            )
        return self

    @model_validator(mode="after")
    def _a_route_is_a_training(self) -> Self:
        if self.rounds.teacher == "route" and not isinstance(self.teacher, Teacher):
            raise PydanticCustomError(
                "route",
                "rounds.teacher 'route' needs a teacher that is trained here: anchors are saved along its training",
            )
        return self

    @model_validator(mode="after")
    def _a_file_learns_nothing(self) -> Self:
        if self._asks_a_learning_teacher and isinstance(self.teacher, TeacherUploaded):
            raise PydanticCustomError(
                "cotrain", "rounds.teacher 'cotrain' needs a teacher that learns: one that was brought guides as it is"
            )
        return self

    @model_validator(mode="after")
    def _there_are_so_many_anchors(self, info: ValidationInfo) -> Self:
        wanted = self.rounds.route.anchors
        default = Route.model_fields["anchors"].get_default()
        if self.rounds.teacher != "route" or wanted == default or not isinstance(self.teacher, Teacher):
            return self
        if wanted >= self.teacher.epochs and not was_accepted(info):
            raise PydanticCustomError(
                "anchors",
                "rounds.route.anchors {anchors}: a teacher of {epochs} epochs passes at most {may} before its best one",
                {"anchors": wanted, "epochs": self.teacher.epochs, "may": self.teacher.epochs - 1},
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


def parse(
    given: dict[str, Any] | str | bytes, *, accepted: bool = False, data_folder: Path | None = None
) -> TrainSpec | GuideSpec:
    """A spec from a mapping or from JSON text; pydantic's ValidationError names every problem.

    One that was `accepted` before, and waits in a queue, say, may have settings that do nothing. With a `data_folder`
    the recipe suits the packed data set there that the spec names.
    """
    told = context(accepted=accepted, data_folder=data_folder)
    if isinstance(given, dict):
        return _SPEC.validate_python(given, context=told)
    return _SPEC.validate_json(given, context=told)


class Given(NamedTuple):
    """A model that a run is given as a file."""

    what: Brought
    pointer: str
    """Its place in the spec."""
    arch: str | None = None
    """Of the model that begins from it; None: it teaches."""


def brought_in(config: TrainConfig | GuideConfig) -> dict[str, Given]:
    """What a run is given as files, in this order: teachers, and what they or the student begin from. By their roles in
    it; what a model begins from is `start_of` its role."""
    found: dict[str, Given] = {}
    for place, (role, one) in enumerate(teachers_in(config.teacher).items()):
        pointer = f"/config/teacher/committee/{place}" if isinstance(config.teacher, Committee) else "/config/teacher"
        if isinstance(one, Brought):
            found[role] = Given(one, pointer)
        elif isinstance(one, Teacher) and isinstance(one.start, Brought):
            found[start_of(role)] = Given(one.start, f"{pointer}/start", one.arch)
    if isinstance(config.student.start, Brought):
        found[start_of("student")] = Given(config.student.start, "/config/student/start", config.student.arch)
    return found
