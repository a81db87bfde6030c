"""What a run is: a `mode` and its `config`, with every default visible and every number bounded.

Pydantic and the standard library only. The API validates with these classes, the database stores what
they print, and `kd.run.run` takes them as they are.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from kd import catalog, packed_facts


def _known_dataset(name: str) -> str:
    if packed_facts.is_packed(name):
        return name  # whether it is there is for those to say who see the data folder
    if name.startswith(packed_facts.PREFIX):
        raise PydanticCustomError("dataset_name", "a packed data set is named {so}", {"so": packed_facts.NAMES_ARE})
    if name not in catalog.DATASETS:
        raise PydanticCustomError(
            "unknown_dataset", "{why}", {"why": catalog.unknown("data set", name, catalog.DATASETS)}
        )
    return name


def _known_model(name: str) -> str:
    if name not in catalog.MODELS:
        raise PydanticCustomError("unknown_model", "{why}", {"why": catalog.unknown("model", name, catalog.MODELS)})
    return name


JOB_ID = r"^job_[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def _id_of_a_job(text: str) -> str:
    if not re.fullmatch(JOB_ID, text):
        raise PydanticCustomError("job_id", "is no id of a job; they look like job_01JZ3V6M8Q4T2B7XK9D5FHNCRW")
    return text


DatasetName = Annotated[str, Field(max_length=200), AfterValidator(_known_dataset)]
Arch = Annotated[str, Field(max_length=200), AfterValidator(_known_model)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
# The pattern is for readers of the schema; the validator says in words what is wrong.
JobId = Annotated[str, Field(max_length=30, json_schema_extra={"pattern": JOB_ID}), AfterValidator(_id_of_a_job)]
BatchSize = Annotated[int, Field(ge=2, le=65_536)]  # batch normalisation has no variance of a single image
Weight = Annotated[float, Field(ge=0, le=1_000)]
EmaDecay = Annotated[float, Field(gt=0, lt=1)]
EMA_SAYS = (
    "decay of an exponential moving average of the weights, which is what is evaluated and kept; none: no average"
)


class Part(BaseModel):
    """A piece of a spec: unknown fields and wrong types are refused, numbers are finite, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Optimizer(Part):
    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.05, gt=0, le=10)
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD only")
    nesterov: bool = Field(default=False, description="SGD only")
    clip_norm: float | None = Field(default=None, gt=0, le=1e6, description="clip the gradient's norm to this")

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
    def _step_needs_milestones(self) -> Self:
        if self.name == "step" and not self.milestones:
            raise PydanticCustomError("milestones", "a step schedule needs milestones, such as [150, 180, 210]")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise PydanticCustomError("milestones", "milestones must rise, each epoch once")
        return self


class Augmentation(Part):
    """What a view may change: a random crop after zero padding, a mirror image, strong operations, a second image."""

    crop_padding: int = Field(ge=0, le=16, description="pixels of padding on each side before the crop")
    flip: bool = Field(description="mirror half of the views")
    strong: int = Field(default=0, ge=0, le=8, description="RandAugment operations on each view")
    magnitude: int = Field(default=9, ge=0, le=30, description="how much a strong operation changes; 30 is most")
    mixup: float = Field(default=0, ge=0, le=100, description="α of Beta(α, α); 0: no mixup")
    cutmix: float = Field(default=0, ge=0, le=100, description="α of Beta(α, α); 0: no cutmix; with mixup half each")

    @property
    def endless(self) -> bool:
        """Whether there are more views of an image than anybody could label."""
        return bool(self.strong or self.mixup or self.cutmix)


class Teacher(Part):
    """A teacher trained in this run, with a recipe of its own."""

    arch: Arch = "cnn"
    epochs: Epochs = Field(default=12, description="at most; training stops early on a plateau")
    patience: int = Field(default=4, ge=1, le=10_000, description="epochs without a better validation accuracy")
    augmentation: Augmentation | None = Field(default=None, description="default: crops and flips as the student's")
    batch_size: BatchSize = 64
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: EmaDecay | None = Field(default=None, description=EMA_SAYS)


class TeacherOfJob(Part):
    """A teacher that is not trained in this run: another job on the same data set has it."""

    job: JobId = Field(description="the job that trained it")
    role: Literal["teacher", "student"] = Field(
        default="teacher", description="which of its models; of its students the best one"
    )


def _kind_of_teacher(given: Any) -> str:
    # What is neither gets its complaint as the usual kind.
    of_job = "job" in given if isinstance(given, dict) else isinstance(given, TeacherOfJob)
    return "of a job" if of_job else "trained here"


AnyTeacher = Annotated[
    Annotated[Teacher, Tag("trained here")] | Annotated[TeacherOfJob, Tag("of a job")], Discriminator(_kind_of_teacher)
]


class Student(Part):
    arch: Arch = "mlp"


class Objective(Part):
    """loss = hard_weight · CE(student, label) + soft_weight · D(student, teacher)"""

    method: Literal["kd"] = "kd"
    temperature: float = Field(default=4, ge=0.01, le=1_000)
    hard_weight: Weight = 0.1
    soft_weight: Weight = 0.9

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.hard_weight == 0 and self.soft_weight == 0:
            raise PydanticCustomError("weights", "hard_weight and soft_weight are both 0: there is nothing to learn")
        return self


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
    def _every_view_is_shown(self) -> Self:
        if self.views > self.epochs:
            raise PydanticCustomError(
                "views", "a round of {epochs} epochs shows at most {epochs} views of an image", {"epochs": self.epochs}
            )
        return self


class Resources(Part):
    """What a run wants of the machine."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    gpus: int = Field(default=1, ge=1, le=64, description="train on so many at once, each on its share of every batch")
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="gigabytes of the machine's memory: a worker with as much takes the run, and it may use no more",
    )


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
        facts = catalog.DATASETS.get(str(given.get("dataset")), catalog.DATASETS["mnist5k"])
        suits = {"crop_padding": facts.crop_padding, "flip": facts.flip}
        if packed_facts.is_packed(str(given.get("dataset"))):
            suits = {"crop_padding": 0, "flip": False}  # nobody said how large its images are, nor what they show
        return {**given, "augmentation": suits | given.get("augmentation", {})}

    @model_validator(mode="after")
    def _something_of_the_image_is_left(self) -> Self:
        facts = catalog.DATASETS.get(self.dataset)
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
