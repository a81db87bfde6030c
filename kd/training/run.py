"""What every phase of a run has at hand: the data on the device, where the run stands, and how to save it."""

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.data.splits import Split
from kd.events import Phase, Saved, SavedFile, Step
from kd.models.build import build
from kd.models.weights import Facts, State
from kd.parallel.team import Team
from kd.randomness import derive, seed_torch
from kd.spec import Augmentation, GuideConfig, Teacher, TrainConfig
from kd.training import resume
from kd.training.position import Position
from kd.training.progress import Progress
from kd.views import pixels
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer

# How often a run speaks while it trains. Reading the device's counters makes the host wait for it.
STEP_SECONDS = 0.5


@dataclass(frozen=True)
class Shown:
    """A split on the device: its viewer, and its labels as int64 [N]."""

    viewer: Viewer
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass
class Workbench:
    """One run's data, device, position and folders."""

    config: TrainConfig | GuideConfig
    dataset: Dataset
    device: torch.device
    autocast: torch.dtype | None  # None: fp32 throughout
    position: Position
    digest: str  # of the spec: a resume state belongs to exactly one
    out: Path
    labels: Path  # label tables, shared between runs
    teacher_arch: str
    teacher_file: Path | None = None  # of a teacher that is brought along
    label_cache_bytes: int | None = None  # None: label tables may take what they need
    resident_bytes: int | None = None  # None: images may take half of the memory that is free
    save_now: threading.Event | None = None  # set by whoever wants the next step to save
    team: Team = Team()  # noqa: RUF009  # immutable
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.plan = plan_of(self.config.augmentation)
        trained = self.config.teacher if isinstance(self.config.teacher, Teacher) else None
        # Unless it is told otherwise the teacher learns from whole images: crops and flips.
        wanted = trained.augmentation if trained is not None else None
        self.teacher_plan = self.plan.plain() if wanted is None else plan_of(wanted)
        self.train = self._show(self.dataset.train)
        self.validation = self._show(self.dataset.validation)
        self._spoke = self._saved = self._phase_began = time.monotonic()

    def _show(self, split: Split) -> Shown:
        padding = max(self.plan.crop_padding, self.teacher_plan.crop_padding)
        placed = pixels.place(split, padding, self.device, self.resident_bytes)
        viewer = Viewer(placed, self.plan, self.dataset.mean, self.dataset.std)
        return Shown(viewer, split.labels.to(self.device))

    def viewer_of(self, phase: Phase) -> Viewer:
        """The training images as a phase's model sees them."""
        return self.train.viewer.with_plan(self.teacher_plan) if phase == "teacher" else self.train.viewer

    def test(self) -> Shown:
        """The test split, put on the device only when it is read: once, at the end."""
        return self._show(self.dataset.test)

    @property
    def views_to_label(self) -> int:
        """How many views of each image the teacher labels over the run."""
        if isinstance(self.config, TrainConfig):
            return self.plan.count if self.config.views == "all" else min(self.config.views, self.plan.count)
        whole, rest = divmod(self.config.epochs, self.config.rounds.epochs)
        return whole * self.views_a_round + min(rest, self.views_a_round)

    @property
    def views_a_round(self) -> int:
        """How many views of each image a round of `guide` labels: no more than there are, or than are shown."""
        assert isinstance(self.config, GuideConfig)
        return min(self.config.rounds.views, self.config.epochs, self.plan.count)

    def build(self, arch: str, role: str, state: State | None = None) -> nn.Module:
        """A model on the device: as born from the run's seed for this role, or with the weights given."""
        seed_torch(derive(self.config.seed, "weights", role))
        model = build(arch, len(self.dataset.classes), self.dataset.shape)
        if state is not None:
            model.load_state_dict(state)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def facts(self, arch: str) -> Facts:
        return Facts(arch, self.dataset.classes, self.dataset.shape, self.dataset.mean, self.dataset.std)

    # -- time ----------------------------------------------------------------------------------------------------

    def enter(self, phase: Phase) -> None:
        """A phase begins or goes on; its time counts from here."""
        if self.position.phase:
            self._count_seconds()
        self.position.phase = phase

    @property
    def is_asked_to_save(self) -> bool:
        return self.save_now is not None and self.save_now.is_set()

    def time_to_speak(self) -> bool:
        return time.monotonic() - self._spoke >= STEP_SECONDS

    def time_to_save(self) -> bool:
        due = time.monotonic() - self._saved >= self.config.checkpoint_seconds
        return self.team.leads and (due or self.is_asked_to_save)

    def step(
        self, phase: Phase, share: float, images: int, metrics: dict[str, float], *, epoch: int = 0, epochs: int = 0
    ) -> Step:
        """What to say after showing `images` images since the last word; `share` of the phase is done."""
        now = time.monotonic()
        speed = images / max(now - self._spoke, 1e-9)
        self._spoke = now
        self.progress.done(phase, share)
        return Step(
            phase=phase,
            step=self.position.step,
            epoch=epoch,
            epochs=epochs,
            metrics=metrics,
            images_per_second=round(speed, 1),
            fraction=round(self.progress.fraction, 4),
            eta_seconds=self.progress.eta_seconds,
        )

    def begin_counting(self) -> None:
        """Images count from here: what went before (an evaluation, a save) is not the loop's speed."""
        self._spoke = time.monotonic()

    # -- saving --------------------------------------------------------------------------------------------------

    def save(
        self,
        epoch: int = 0,
        *,
        student: State | None = None,
        best: bool = False,
        metrics: dict[str, float] | None = None,
    ) -> Iterator[Saved]:
        """Write the position down, and with it the student as it is now, if there is one to offer."""
        self._count_seconds()
        if not self.team.leads:
            return  # ours is the same
        yield Saved(
            phase=self.position.phase,
            step=self.position.step,
            epoch=epoch,
            resume=resume.save_position(self.position, self.digest, self.out),
            student=self._save_student(student) if student else None,
            best=best,
            metrics=metrics or {},
        )
        self._saved = time.monotonic()

    def save_as(self, phase: Phase, epoch: int) -> Iterator[Saved]:
        """Save the position of another phase than the one that is under way. It counts as a step, as in `finish`."""
        self._count_seconds()
        under_way, self.position.phase = self.position.phase, phase
        self.position.step += 1
        yield from self.save(epoch)
        self.position.phase = under_way

    def finish(self, outcome: dict[str, object], epoch: int = 0) -> Iterator[Saved]:
        """A phase is over: keep what came of it. It counts as a step, so that its checkpoint is a later one."""
        self.position.finished[self.position.phase] = outcome
        self.position.current = None
        self.position.step += 1
        self.progress.done(self.position.phase, 1)
        return self.save(epoch)

    def _save_student(self, state: State) -> SavedFile:
        return resume.save_student(state, self.facts(self.config.student.arch), self.position.step, self.out)

    def _count_seconds(self) -> None:
        now = time.monotonic()
        phase, seconds = self.position.phase, self.position.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self._phase_began
        self._phase_began = now


def plan_of(augmentation: Augmentation) -> ViewPlan:
    """The views that an augmentation makes. The plan's seed is not the run's: whoever has the same teacher and data
    shows the same views, and can share its labels."""
    return ViewPlan(
        augmentation.crop_padding,
        augmentation.flip,
        strong=augmentation.strong,
        magnitude=augmentation.magnitude,
        mixup=augmentation.mixup,
        cutmix=augmentation.cutmix,
    )


def autocast(bench: Workbench) -> Any:
    """The forward's precision. Losses stay outside: they are fp32 always."""
    if bench.autocast is None:
        return nullcontext()
    return torch.autocast(bench.device.type, dtype=bench.autocast)


def weights_of(bench: Workbench, phase: Phase, which: str = "best") -> State:
    """The weights that a finished phase left."""
    return bench.position.finished[phase][which]  # type: ignore[no-any-return]
