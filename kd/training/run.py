"""What every phase of a run has at hand: the spec, the data on the device, the folders, who takes part."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from kd.data.dataset import Dataset
from kd.data.splits import Split
from kd.events import Phase
from kd.machine.precision import make_scaler
from kd.models.build import Seen, build
from kd.models.features import Measures, measure
from kd.models.own import networks
from kd.models.own.names import is_own
from kd.models.safetensors.facts import Facts
from kd.models.start import Beginning
from kd.models.weights import State, build_with
from kd.objectives.objective import Objective as StudentObjective
from kd.parallel.team import Team
from kd.randomness import derive, seed_of_member, seed_torch
from kd.spec import Augmentation, Committee, GuideConfig, Objective, Teacher, TrainConfig, teachers_in
from kd.spec.augmentation import is_another_size
from kd.spec.teacher import OneModel
from kd.views import pixels
from kd.views.boxes import Boxes, Size
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer

# What the labels of all rounds may take to be kept from one seed to the next.
SHARED_BYTES = 1 << 29


@dataclass(frozen=True)
class Shown:
    """A split on the device: its viewer, and its labels as int64 [N]."""

    viewer: Viewer
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True)
class Run:
    """One run's spec, data, device and folders. Where it stands is in its `Logbook`."""

    config: TrainConfig | GuideConfig
    dataset: Dataset
    device: torch.device
    autocast_dtype: torch.dtype | None  # None: fp32 throughout
    out: Path
    labels: Path  # label tables, shared between runs
    teacher_arch: str
    plan: ViewPlan  # the views of the student, which are those that the teacher labels
    teacher_plan: ViewPlan  # those from which the teacher learns
    control_plan: ViewPlan  # those of the control
    train: Shown
    validation: Shown
    class_weights_C: Tensor | None = None  # what an image counts in the labels' part of a loss; on the device
    teacher_file: Path | None = None  # of a teacher that is brought along
    teacher_sees: Seen | None = None  # None: the data set's images
    teacher_role: Phase = "teacher"  # of a committee's member its own
    starts: Mapping[str, Beginning] = field(default_factory=dict)  # by the roles of those that begin from weights
    members: tuple["Run", ...] = ()  # of a committee: each as if it were this run's only teacher
    label_cache_bytes: int | None = None  # None: label tables may take what they need
    resident_bytes: int | None = None  # None: images may take half of the memory that is free
    team: Team = Team()  # noqa: RUF009  # immutable

    def viewer_of(self, phase: Phase) -> Viewer:
        """The training images as a phase's model sees them."""
        own: dict[str, ViewPlan] = {self.teacher_role: self.teacher_plan}
        own |= {"control": self.control_plan, "label_smoothing": self.control_plan}
        return self.train.viewer.with_plan(own[phase]) if phase in own else self.train.viewer

    def test(self) -> Shown:
        """The test split, put on the device only when it is read: when a seed's models are final."""
        padding = self.train.viewer.pixels.padding
        return _show(self.dataset, self.dataset.test, self.plan, padding, self.device, self.resident_bytes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the models see."""
        return self.train.viewer.shape

    @property
    def views_to_label(self) -> int:
        """How many views of each image the teacher labels over the run."""
        if isinstance(self.config, TrainConfig):
            shown = self.plan.count if self.config.views == "all" else min(self.config.views, self.plan.count)
        else:
            whole, rest = divmod(self.config.epochs, self.config.rounds.epochs)
            shown = whole * self.views_a_round + min(rest, self.views_a_round)
        return shown * self.plan.at_once

    @property
    def views_a_round(self) -> int:
        """How many views of each image (or pairs of them) a round of `guide` labels: no more than there are, or than
        are shown."""
        assert isinstance(self.config, GuideConfig)
        return min(self.config.rounds.views, self.config.epochs, self.plan.count)

    @property
    def pooled(self) -> int:
        """How wide the feature of the teacher is that a label holds behind its logits; 0: the objective needs none."""
        if "pooled" not in self.config.objective.reads:
            return 0
        return self.measure_teacher(pooled=True).pooled

    def measure_teacher(self, *, pooled: bool = False, stages: bool = False) -> Measures:
        """How large the teacher's features are for the images that it sees."""
        classes, (shape, bare) = len(self.dataset.classes), self.teacher_sees or Seen(self.shape)
        return measure(self.teacher_arch, classes, shape, bare=bare, pooled=pooled, stages=stages)

    def measures(self) -> tuple[Measures | None, Measures | None]:
        """Of the student and of the teacher, as far as the objective reads features of theirs."""
        reads, student, teacher = self.config.objective.reads, None, None
        if reads:
            on_student = not reads.isdisjoint({"heads", "stages"})
            classes, shape = len(self.dataset.classes), self.shape
            arch, pooled = self.config.student.arch, "pooled" in reads
            student = measure(arch, classes, shape, pooled=pooled, stages=on_student)
        if reads - {"heads"}:  # of the teacher those need nothing, which may be no single model
            teacher = self.measure_teacher(pooled="pooled" in reads, stages="stages" in reads)
        return student, teacher

    def objective(self) -> StudentObjective:
        """What the student is told to care about; whatever that trains is as born from the run's seed."""
        config, (student, teacher) = self.config, self.measures()
        seed_torch(derive(config.seed, "weights", "objective"))
        return StudentObjective(
            config.objective, self.class_weights_C, epochs=config.epochs, student=student, teacher=teacher
        )

    @property
    def shares_rounds(self) -> bool:
        """Whether the labels that a round of `guide` has made are kept for the seeds to come: if the teacher says the
        same to all of them, and all rounds fit into a small part of memory. (A fact of the run, not of the machine:
        processes of a team must agree.)"""
        if not isinstance(self.config, GuideConfig) or self.config.rounds.teacher == "cotrain":
            return False
        numbers = len(self.dataset.classes) + self.pooled
        width = (self.autocast_dtype or torch.float32).itemsize
        return len(self.train) * self.views_to_label * numbers * width <= SHARED_BYTES

    def build(self, arch: str, role: str, state: State | None = None) -> nn.Module:
        """A model on the device: as born from the run's seed for this role, or with the weights given."""
        seed_torch(derive(self.config.seed, "weights", role))
        classes, shape = len(self.dataset.classes), self.shape
        model = build(arch, classes, shape) if state is None else build_with(state, arch, classes, shape)
        if is_own(arch):
            return networks.in_memory(model, self.device, self.shape)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def facts(self, arch: str) -> Facts:
        """What a weights file of this run says of itself."""
        data = self.dataset
        return Facts(arch=arch, classes=data.classes, shape=self.shape, mean=data.mean, std=data.std)

    def autocast(self) -> AbstractContextManager[None]:
        """The forward's precision. Losses stay outside: they are fp32 always."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)

    def scaler(self) -> GradScaler:
        """What an optimizer's steps go through, for gradients that fit into the forward's precision."""
        return make_scaler(self.device, self.autocast_dtype)


def prepare(
    config: TrainConfig | GuideConfig,
    dataset: Dataset,
    device: torch.device,
    *,
    autocast_dtype: torch.dtype | None,
    out: Path,
    labels: Path,
    teacher_arch: str,
    teacher_file: Path | None = None,
    teacher_sees: Seen | None = None,
    members: Sequence[tuple[str, Path | None, Seen | None]] = (),
    starts: Mapping[str, Beginning] | None = None,
    label_cache_bytes: int | None = None,
    resident_bytes: int | None = None,
    team: Team = Team(),  # immutable
) -> Run:
    """A run with its training and validation images put where they will be read. `members` are the architectures of a
    committee, with the files of those that are brought along and what they see."""
    input_size, paired = input_size_of(config, dataset), config.objective.paired
    plan = plan_of(config.augmentation, input_size, paired=paired)
    teacher_plans = {role: teacher_plan_of(one, plan) for role, one in teachers_in(config.teacher).items()}
    control_plan = plan_of(config.of_control().augmentation, input_size, paired=paired)
    # Padded once, for whoever pads most.
    padding = max(one.crop_padding for one in (plan, control_plan, *teacher_plans.values()))
    train, validation = (
        _show(dataset, split, plan, padding, device, resident_bytes) for split in (dataset.train, dataset.validation)
    )
    run = Run(
        config=config,
        dataset=dataset,
        device=device,
        autocast_dtype=autocast_dtype,
        out=out,
        labels=labels,
        teacher_arch=teacher_arch,
        plan=plan,
        teacher_plan=teacher_plans.get("teacher", plan),
        control_plan=control_plan,
        train=train,
        validation=validation,
        class_weights_C=weigh_classes(config.objective, dataset, device),
        teacher_file=teacher_file,
        teacher_sees=teacher_sees,
        starts=starts or {},
        label_cache_bytes=label_cache_bytes,
        resident_bytes=resident_bytes,
        team=team,
    )
    if not isinstance(config.teacher, Committee):
        return run
    each = zip(teachers_in(config.teacher).items(), members, strict=True)
    return replace(
        run,
        members=tuple(
            replace(
                run,
                config=config.model_copy(update={"teacher": one, "seed": seed_of_member(config.seed, number)}),
                teacher_arch=arch,
                teacher_plan=teacher_plans[role],
                teacher_file=file,
                teacher_sees=seen,
                teacher_role=role,
            )
            for number, ((role, one), (arch, file, seen)) in enumerate(each, 1)
        ),
    )


def teacher_plan_of(teacher: OneModel, plan: ViewPlan) -> ViewPlan:
    """The views from which a teacher learns: unless it is told otherwise whole images, crops and flips."""
    wanted = teacher.augmentation if isinstance(teacher, Teacher) else None
    return plan.plain() if wanted is None else plan_of(wanted, plan.input_size)


def weigh_classes(objective: Objective, dataset: Dataset, device: torch.device) -> Tensor | None:
    """What the classes weigh, float32 [C]. `balanced` is N / (C · images of the class): their mean over the training
    images is 1, so a learning rate that was right stays right (King & Zeng, 2001)."""
    wanted, classes = objective.class_weights, len(dataset.classes)
    if wanted is None:
        return None
    if wanted == "balanced":
        count_C = torch.bincount(dataset.train.labels, minlength=classes)
        return (len(dataset.train) / (classes * count_C)).to(device, torch.float32)
    return torch.tensor(wanted, device=device)


def input_size_of(config: TrainConfig | GuideConfig, dataset: Dataset) -> Size | None:
    """The height and width of what models see, where that is not the images' own."""
    side = config.input_size
    return (side, side) if side is not None and is_another_size(side, dataset.shape) else None


def shape_of(config: TrainConfig | GuideConfig, dataset: Dataset) -> tuple[int, int, int]:
    """Channels, height and width of what models see."""
    channels, *size = dataset.shape
    height, width = input_size_of(config, dataset) or size
    return channels, height, width


def plan_of(augmentation: Augmentation, input_size: Size | None = None, *, paired: bool = False) -> ViewPlan:
    """The views that an augmentation makes. The plan's seed is not the run's: whoever has the same teacher and data
    shows the same views, and can share its labels."""
    crop = augmentation.resized_crop
    return ViewPlan(
        augmentation.crop_padding,
        augmentation.flip,
        strong=augmentation.strong,
        magnitude=augmentation.magnitude,
        mixup=augmentation.mixup,
        cutmix=augmentation.cutmix,
        paired=paired,
        resized_crop=None if crop is None else Boxes(crop.scale, crop.ratio),
        input_size=input_size,
    )


def _show(
    dataset: Dataset, split: Split, plan: ViewPlan, padding: int, device: torch.device, resident_bytes: int | None
) -> Shown:
    viewer = Viewer(pixels.place(split, padding, device, resident_bytes), plan, dataset.mean, dataset.std)
    return Shown(viewer, split.labels.to(device))
