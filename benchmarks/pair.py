"""A teacher, a student, data of the right shapes, and the loops that are timed with them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kd.data.catalog import DATASETS, DatasetFacts
from kd.data.dataset import Dataset
from kd.data.splits import Split
from kd.evaluation import cost
from kd.labels import labelling
from kd.machine.torchvision_import import torchvision_transforms
from kd.models.build import build
from kd.models.folding import for_inference
from kd.models.weights import copy_of
from kd.objectives.objective import Answer, Objective
from kd.randomness import permutation
from kd.spec import TrainConfig
from kd.train import TableLabels
from kd.training import loop
from kd.training.batches import cut_batches
from kd.training.logbook import Logbook
from kd.training.resuming.position import Position
from kd.training.run import Run
from kd.training.run import prepare as prepare_run

BATCH = 64
# How long each measurement should take, about; images are chosen accordingly.
SECONDS = 3.0
TEACHER_BATCHES = (32, 64, 128, 256)


class Pair:
    """A teacher, a student, data of the right shapes, and the loops to be timed."""

    def __init__(self, teacher: str, student: str, name: str, images: Path | None, device: torch.device, folder: Path):
        self.device = device
        facts = DATASETS[name]
        self.pixels, self.labels = content(images, facts)
        self.config = TrainConfig.model_validate(
            {
                "dataset": name,
                "teacher": {"arch": teacher, "epochs": 1},
                "student": {"arch": student},
                "epochs": 1,
                "batch_size": BATCH,
                "views": 1,
            }
        )
        self.folder = folder
        self.classes = facts.classes
        self.teacher = self._model(teacher).eval().requires_grad_(False)
        self.inputs = torch.randn(BATCH, *facts.shape, device=device).contiguous(memory_format=torch.channels_last)
        self.targets = torch.randint(facts.classes, (BATCH,), device=device)
        macs = {arch: cost.macs(build(arch, facts.classes, facts.shape), facts.shape) for arch in (teacher, student)}
        # About 1.5e11 multiply-accumulates a second on two cores; small models are bound by other things.
        self.student_images = self._images(max(3 * macs[student], 6_000_000), 1.2e11)
        self.teacher_images = self._images(max(macs[teacher], 6_000_000), 1.5e11)
        self.both_images = self._images(max(macs[teacher] + 3 * macs[student], 10_000_000), 1.2e11)
        self.number = 0

    def works(self) -> dict[str, Callable[[], float]]:
        return {
            "bare student": self.bare_student,
            "student phase": self.student_phase,
            "bare teacher": self.bare_teacher,
            "labelling": self.labelling,
            "live teacher": self.live_teacher,
            "tutorial": self.tutorial,
        }

    def bare_student(self) -> float:
        model, optimizer = self._student()
        steps = self.student_images // BATCH
        with timed(self.device) as seconds:
            for _ in range(steps):
                loss = F.cross_entropy(model(self.inputs), self.targets)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return steps * BATCH / seconds()

    def student_phase(self) -> float:
        run, log = self.run(self.student_images)
        count, classes = len(run.train), self.classes
        table = torch.randn(count, 1, classes, device=self.device).half()
        validation = torch.randn(len(run.validation), classes)
        guidance = TableLabels(table, validation, self.device, classes=classes)
        objective = Objective(self.config.objective)
        model = run.build(self.config.student.arch, "student")
        steps_end = began = time.perf_counter()
        with timed(self.device) as seconds:
            for event in loop.fit(run, log, "student", model, self.config, objective, guidance=guidance):
                if event.event == "phase":
                    began = time.perf_counter()
                if event.event == "step":
                    steps_end = time.perf_counter()
        self.steps_speed = count / (steps_end - began)
        return count / seconds()

    def bare_teacher(self) -> float:
        return max(self._forward(size) for size in TEACHER_BATCHES)

    def _forward(self, size: int) -> float:
        inputs = torch.randn(size, *self.inputs.shape[1:], device=self.device).contiguous(
            memory_format=torch.channels_last
        )
        steps = max(1, self.teacher_images // len(TEACHER_BATCHES) // size)
        with torch.inference_mode():
            self.teacher(inputs)
            with timed(self.device) as seconds:
                for _ in range(steps):
                    self.teacher(inputs)
        return steps * size / seconds()

    def labelling(self) -> float:
        run, log = self.run(self.teacher_images)
        weights = copy_of(self.teacher)
        with timed(self.device) as seconds:
            for _ in labelling.obtain_table(run, log, for_inference(self.teacher), weights, 1):
                pass
        return len(run.train) / seconds()

    def live_teacher(self) -> float:
        run, _ = self.run(self.both_images)
        model, optimizer = self._student()
        order_N = permutation(len(run.train), 0)
        objective = Objective(self.config.objective)
        with timed(self.device) as seconds:
            for batch in cut_batches(run.train, run.train.viewer, order_N, 0, BATCH):
                with torch.inference_mode():
                    teacher_BC = self.teacher(batch.pixels_BCHW)
                student_BC = model(batch.pixels_BCHW)
                parts = objective(student_BC, batch.labels_B, Answer(teacher_BC.clone()), batch.mix)
                optimizer.zero_grad(set_to_none=True)
                parts.total.backward()
                optimizer.step()
        return len(run.train) / seconds()

    def tutorial(self) -> float:
        transforms = torchvision_transforms()
        facts = DATASETS[self.config.dataset]
        # As torchvision's own data sets give their images, and its tutorials transform them.
        steps = [transforms.ToPILImage(), transforms.RandomCrop(facts.height, padding=facts.crop_padding)]
        steps += [transforms.RandomHorizontalFlip()] if facts.flip else []
        steps += [transforms.ToTensor(), transforms.Normalize(facts.mean, facts.std)]
        images = Transformed(self.pixels[: self.both_images], self.labels, transforms.Compose(steps))
        loader = torch.utils.data.DataLoader(images, batch_size=BATCH, shuffle=True)
        model = self._model(self.config.student.arch, channels_last=False)
        teacher = self._model(self.config.teacher.arch, channels_last=False).eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        total = 0.0
        with timed(self.device) as seconds:
            for inputs, targets in loader:
                inputs, targets = inputs.to(self.device), targets.to(self.device)
                with torch.no_grad():
                    said = teacher(inputs)
                answers = model(inputs)
                soft = F.kl_div(F.log_softmax(answers / 4, 1), F.softmax(said / 4, 1), reduction="batchmean") * 16
                loss = 0.1 * F.cross_entropy(answers, targets) + 0.9 * soft
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
        return len(images) / seconds()

    def _images(self, macs: int, macs_a_second: float) -> int:
        """As many as take `SECONDS`, in whole batches, at most all there are."""
        wanted = int(SECONDS * macs_a_second / macs) // BATCH * BATCH
        return max(4 * BATCH, min(wanted, len(self.labels)))

    def run(self, images: int) -> tuple[Run, Logbook]:
        facts = DATASETS[self.config.dataset]
        tenth = max(1, images // 9)
        train, validation = (
            Split(self.pixels[:count], self.labels[:count], torch.arange(count)) for count in (images, tenth)
        )
        self.number += 1  # no data set is the one before, so that no label table is
        names = tuple(str(number) for number in range(facts.classes))
        dataset = Dataset(
            self.config.dataset, names, facts.mean, facts.std, str(self.number), train, validation, validation
        )
        run = prepare_run(
            self.config,
            dataset,
            self.device,
            autocast_dtype=torch.bfloat16 if self.device.type == "cuda" else None,
            out=self.folder,
            labels=self.folder / "labels",
            teacher_arch=self.config.teacher.arch,
        )
        student = run.facts(self.config.student.arch)
        return run, Logbook(
            Position(),
            request={},
            out=self.folder,
            student=student,
            save_seconds=self.config.checkpoint_seconds,
        )

    def _model(self, arch: str, *, channels_last: bool = True) -> nn.Module:
        model = build(arch, self.classes, DATASETS[self.config.dataset].shape).to(self.device)
        return model.to(memory_format=torch.channels_last) if channels_last else model

    def _student(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = self._model(self.config.student.arch).train()
        return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)


class Transformed(torch.utils.data.Dataset):
    """Images one by one, each through its transform, as tutorials have it."""

    def __init__(self, pixels: torch.Tensor, targets: torch.Tensor, transform: Callable[[torch.Tensor], torch.Tensor]):
        self.pixels, self.targets, self.transform = pixels, targets, transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[number]), int(self.targets[number])


def content(images: Path | None, facts: DatasetFacts) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 [N, C, H, W] and labels [N]."""
    if images is not None:
        with np.load(images) as file:
            pixels = torch.from_numpy(file["images"]).permute(0, 3, 1, 2).contiguous()
            return pixels, torch.from_numpy(file["labels"]).long()
    count = 60_000
    return torch.randint(256, (count, *facts.shape), dtype=torch.uint8), torch.randint(facts.classes, (count,))


@contextmanager
def timed(device: torch.device) -> Iterator[Callable[[], float]]:
    """The seconds that the block took, its work on the device included."""
    wait(device)
    began = time.perf_counter()
    ended: list[float] = []
    yield lambda: ended[0] - began
    wait(device)
    ended.append(time.perf_counter())


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
