"""What the runs of both modes share: data, models, objective, recipe."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.data.catalog import DATASETS
from kd.models.catalog import family_of
from kd.spec import presets
from kd.spec.augmentation import Augmentation, suiting, why_unfit
from kd.spec.brought import START_SAYS, AnyStart
from kd.spec.comparison import AnyControl, Baselines, Control, fill_in
from kd.spec.names import Arch, DatasetName
from kd.spec.objective import WITH_HARD_LABELS, WITHOUT_TEMPERATURE, Objective, Term, asks_for_pairs
from kd.spec.part import Part, data_folder, refuse_idle, was_accepted, without_default
from kd.spec.recipe import (
    ACCUMULATION_SAYS,
    EMA_SAYS,
    BatchSize,
    EmaDecay,
    Epochs,
    GradientAccumulation,
    Optimizer,
    Schedule,
    least_images,
)
from kd.spec.resources import Resources
from kd.spec.teacher import AnyTeacher, Teacher, trained_in
from kd.spec.terms import features
from kd.spec.terms.cross_view import STRONG_OPERATIONS, are_no_pairs
from kd.spec.terms.ramps import is_zero

# Images whose triples rkd compares at once: their number to the power of three, times 8 bytes, times about six.
TRIPLES = 256
MOST_SEEDS = 32

ValidationFraction = Annotated[
    float, Field(ge=0.01, le=0.5, description="share of the training images kept for choosing the best epoch")
]
InputSize = Annotated[
    int | None, Field(ge=8, le=1_024, description="height and width of what models see; none: those of the images")
]


class Student(Part):
    arch: Arch = "mlp"
    start: AnyStart | None = Field(default=None, description=START_SAYS)


class Config(Part):
    """What both modes share: data, models and the student's recipe."""

    _has_maps: ClassVar = True  # of the teacher's stages

    recipe: presets.Name = Field(
        default="auto",
        description="fills in what is left open as it suits the student and the size of the data set: see GET /presets",
    )
    dataset: DatasetName = "mnist5k"
    validation_fraction: ValidationFraction = 0.1
    teacher: AnyTeacher = Field(default=Teacher(), json_schema_extra=without_default)
    student: Student = Student()
    objective: Objective = Field(
        default=Objective(),
        description="what the student is told to care about; defaults to the recipe's",
        json_schema_extra=without_default,
    )
    epochs: Epochs = Field(
        default=30,
        description="student epochs; the control gets as many; defaults to the recipe's",
        json_schema_extra=without_default,
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="student and control stop after so many epochs without a better validation accuracy; none: never",
    )
    batch_size: BatchSize = 64
    gradient_accumulation: GradientAccumulation = Field(default=1, description=ACCUMULATION_SAYS)
    optimizer: Optimizer = Field(default=Optimizer(), json_schema_extra=without_default)
    schedule: Schedule = Field(default=Schedule(), json_schema_extra=without_default)
    ema: EmaDecay | None = Field(default=None, description=EMA_SAYS)
    augmentation: Augmentation = Field(
        default=None,  # type: ignore[assignment]  # filled in before validation, from the data set
        description="defaults to what suits the data set",
        json_schema_extra=without_default,
    )
    input_size: InputSize = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bf16 on a GPU that computes in it, fp16 on an older one, fp32 on a CPU"
    )
    resources: Resources = Resources()
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    seeds: int = Field(
        default=1,
        ge=1,
        le=MOST_SEEDS,
        description="train student and control so often, under the same teacher and labels, from seed, seed + 1, …",
    )
    control: AnyControl = Field(
        default=True,
        description="also train the same student without a teacher; an object: by a recipe of its own; defaults to the "
        "recipe's",
        json_schema_extra=without_default,
    )
    baselines: Baselines = Baselines()
    checkpoint_seconds: float = Field(
        default=10, ge=0, le=86_400, description="at most this much work is lost when a worker dies"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_what_depends_on_the_rest(cls, given: Any, info: ValidationInfo) -> Any:
        # Not a default factory: it would add a complaint of its own whenever another field is wrong.
        if not isinstance(given, dict) or not isinstance(given.get("augmentation", {}), dict):
            return given
        if not was_accepted(info):  # what was accepted is whole, and stays what it was
            size = presets.size_of(given.get("dataset", "mnist5k"), data_folder(info))
            given = presets.fill_in(given, size, views="views" in cls.model_fields)
        suits = suiting(given) | ({"strong": STRONG_OPERATIONS} if asks_for_pairs(given.get("objective")) else {})
        given = {**given, "augmentation": suits | given.get("augmentation", {})}
        if isinstance(control := given.get("control"), dict):
            given["control"] = fill_in(control, given)
        return given

    @model_validator(mode="after")
    def _suits_its_data(self) -> Self:
        if facts := DATASETS.get(self.dataset):
            found = self.misfits(facts.classes, facts.shape, images=facts.train, own_validation=False)
            if words := "; ".join(f"{field} {why}" for field, why in found):
                raise PydanticCustomError("misfit", "{words}", {"words": words})
        return self

    def misfits(
        self, classes: int, shape: tuple[int, int, int], *, images: int, own_validation: bool
    ) -> Iterator[tuple[str, str]]:
        """What cannot be done with so many classes and images of `shape` (channels, height, width): (field, why).

        `own_validation`: which images are for validation is not for the spec to say. Of packed data sets the spec does
        not know all this: whoever does must ask.
        """
        trained = dict(trained_in(self.teacher))
        augmentations: dict[str, Augmentation | None] = {"augmentation": self.augmentation}
        augmentations |= {f"{place}.augmentation": teacher.augmentation for place, teacher in trained.items()}
        augmentations["control.augmentation"] = self.control.augmentation if isinstance(self.control, Control) else None
        for field, augmentation in augmentations.items():
            if augmentation and (unfit := why_unfit(augmentation, self.dataset, shape, self.input_size)):
                yield f"{field}.crop_padding", unfit
        archs = {"student": self.student.arch} | {place: teacher.arch for place, teacher in trained.items()}
        for place, arch in archs.items():
            if (channels := family_of(arch).channels) and shape[0] not in channels:
                wanted = " or ".join(map(str, channels))
                why = f"{arch} takes images of {wanted} channels, those of {self.dataset} have {shape[0]}"
                yield f"{place}.arch", why
        for whose, recipe in self._recipes():
            if images < (least := least_images(self.resources.gpus, recipe.gradient_accumulation)):
                yield (
                    f"{whose}gradient_accumulation",
                    f"asks for {least} images in a batch, two for each piece on each GPU; {self.dataset} has {images}",
                )
        weights = self.objective.class_weights
        if isinstance(weights, tuple) and len(weights) != classes:
            why = f"must be a number for each of the {classes} classes of {self.dataset}, not {len(weights)} of them"
            yield "objective.class_weights", why
        if own_validation and self.validation_fraction != Config.model_fields["validation_fraction"].get_default():
            yield "validation_fraction", f"would do nothing here: {self.dataset} has a validation split of its own"

    @model_validator(mode="after")
    def _every_gpu_has_its_share(self) -> Self:
        for whose, recipe in (*self._recipes(), ("control.", self.of_control())):
            pieces = recipe.gradient_accumulation
            if recipe.batch_size < (least := least_images(self.resources.gpus, pieces)):
                what = "the GPUs" if pieces == 1 else "the pieces on each GPU"
                raise PydanticCustomError(
                    "share",
                    "{whose} must be at least {least}, two images for each of {what}",
                    {"whose": f"{whose}batch_size", "least": least, "what": what},
                )
        return self

    @model_validator(mode="after")
    def _schedules_come_to_their_end(self, info: ValidationInfo) -> Self:
        for place, recipe in (*self._recipes(), ("control.", self.of_control())):
            schedule, epochs, whose = recipe.schedule, recipe.epochs, f"{place}schedule"
            if schedule.warmup_epochs >= epochs and schedule.warmup_epochs > 0:
                raise PydanticCustomError(
                    "warmup", "{whose}: the warm-up must end before epoch {epochs}", {"whose": whose, "epochs": epochs}
                )
            if schedule.milestones and schedule.milestones[-1] >= epochs and not was_accepted(info):
                raise PydanticCustomError(
                    "milestones",
                    "{whose}: milestone {last} is not reached in {epochs} epochs; the last one may be {may}",
                    {"whose": whose, "last": schedule.milestones[-1], "epochs": epochs, "may": epochs - 1},
                )
        return self

    @model_validator(mode="after")
    def _patience_may_run_out(self, info: ValidationInfo) -> Self:
        if self.patience is not None and self.patience >= self.epochs and not was_accepted(info):
            raise PydanticCustomError(
                "patience",
                "patience {patience} would do nothing here: the student ends after {epochs} epochs anyway",
                {"patience": self.patience, "epochs": self.epochs},
            )
        return self

    @model_validator(mode="after")
    def _every_part_of_the_objective_acts(self, info: ValidationInfo) -> Self:
        objective = self.objective
        own = [name for name in Term.model_fields if name != "temperature"]
        if is_zero(objective.soft_weight):
            refuse_idle(objective, info, *own, acts_with="a soft_weight above 0")
        if not self._asks_a_learning_teacher:
            if is_zero(objective.soft_weight):
                refuse_idle(objective, info, "temperature", acts_with="a soft_weight above 0")
            if why := WITHOUT_TEMPERATURE.get(objective.method):
                refuse_idle(objective, info, "temperature", acts_with=f"another method: {why}")
        for field, ramp in objective.ramps:
            if ramp.epochs is not None and ramp.epochs > self.epochs and not was_accepted(info):
                raise PydanticCustomError(
                    "ramp",
                    "objective.{field}: a ramp of {ramp} epochs does not come to its end in {epochs}",
                    {"field": field, "ramp": f"{ramp.epochs:g}", "epochs": self.epochs},
                )
        return self

    @model_validator(mode="after")
    def _labels_are_whole_where_they_must_be(self) -> Self:
        needs = {term.method for term, _ in self.objective.terms if term.method in WITH_HARD_LABELS}
        mixed = [name for name in ("mixup", "cutmix") if getattr(self.augmentation, name)]
        if needs and mixed:
            raise PydanticCustomError(
                "hard_labels",
                "objective.method {method} needs one label to an image, and augmentation.{mixed} blends two of them: "
                "leave one of the two out",
                {"method": needs.pop(), "mixed": mixed[0]},
            )
        return self

    @model_validator(mode="after")
    def _a_pair_is_a_weak_and_a_strong_view_of_one_image(self) -> Self:
        for why in are_no_pairs(self.augmentation) if self.objective.paired else ():
            raise PydanticCustomError("pairs", "{why}", {"why": why})
        return self

    @model_validator(mode="after")
    def _features_are_there(self) -> Self:
        for field, why in features.faults(self.objective, self.student.arch, self.teacher, has_maps=self._has_maps):
            raise PydanticCustomError("features", "{field} {why}", {"field": field, "why": why})
        return self

    @model_validator(mode="after")
    def _triples_fit_into_memory(self) -> Self:
        shown = 2 if self.objective.paired else 1
        at_once = shown * math.ceil(self.batch_size / (self.resources.gpus * self.gradient_accumulation))
        if at_once > TRIPLES and any(term.method == "rkd" and term.angles for term, _ in self.objective.terms):
            raise PydanticCustomError(
                "triples",
                "objective.method rkd compares all triples of the {what} at hand, at most {most} of them: "
                "batch_size {size} needs a gradient_accumulation of at least {pieces}",
                {
                    "what": "views" if self.objective.paired else "images",
                    "most": TRIPLES,
                    "size": self.batch_size,
                    "pieces": math.ceil(shown * self.batch_size / (self.resources.gpus * TRIPLES)),
                },
            )
        return self

    @model_validator(mode="after")
    def _a_baseline_has_a_control_beside_it(self, info: ValidationInfo) -> Self:
        if not self.control:
            refuse_idle(self, info, "baselines", acts_with="a control, whose recipe it takes")
        return self

    def of_control(self) -> Self:
        """The same with the control's recipe in the place of the student's."""
        own = dict(self.control) if isinstance(self.control, Control) else {}
        return self.model_copy(update={name: part for name, part in own.items() if part is not None})

    def _recipes(self) -> Iterator[tuple[str, "Config | Teacher"]]:
        """The recipes of student and teachers, each with what its fields are preceded by."""
        yield "", self
        for place, teacher in trained_in(self.teacher):
            yield f"{place}.", teacher

    @property
    def _asks_a_learning_teacher(self) -> bool:
        """Whether something else than the student's objective has a temperature."""
        return False
