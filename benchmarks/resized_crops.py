"""What does it cost to cut boxes out of photos and resize them, at every step?

    python benchmarks/resized_crops.py [--rounds 5] [--seconds 4] [--students 32:resnet20,64:resnet20,…]

For each input size and student, measured in turn, batch 64, images/s:
    bare student      forward, cross-entropy, backward, SGD on one resident tensor, channels last, and nothing else
    middle            a job's student phase on labels that are there; views are the middle of an image, or its mirror
    boxes             the same on boxes of the images, `augmentation: {resized_crop: {}}`
    middle, views     the views alone, shown from their numbers, without a model
    boxes, views      those of boxes
Images are random, and 1.15 times as large as what the student sees. On a CPU seconds are those of the processor, in
which others on the machine count for less. Results with hardware: benchmarks/README.md.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from pair import BATCH, wait

from kd.data.dataset import Dataset
from kd.data.splits import Split
from kd.machine import memory
from kd.models.build import build
from kd.objectives.objective import Objective
from kd.spec import TrainConfig
from kd.train import TableLabels
from kd.training import loop
from kd.training.logbook import Logbook
from kd.training.resuming.position import Position
from kd.training.run import Run, prepare

STUDENTS = "32:resnet20,64:resnet20,224:torchvision/mobilenet_v3_small"
CLASSES = 100
MARGIN = 1.15
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "middle": {"flip": True},
    "boxes": {"flip": True, "resized_crop": {}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--students", default=STUDENTS)
    parser.add_argument("--seconds", type=float, default=4, help="about so long is each measurement")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        memory.keep_what_is_freed()  # as a run does
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"batch {BATCH}, {options.rounds} rounds in turn; images/s as median (min to max)")
    for student in options.students.split(","):
        side, _, arch = student.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            compare(int(side), arch, options.rounds, options.seconds, device, Path(folder))


def compare(side: int, arch: str, rounds: int, seconds: float, device: torch.device, folder: Path) -> None:
    """Measure everything in turn and print a table."""
    bare(side, arch, 2 * BATCH, device)
    count = max(6, round(bare(side, arch, 4 * BATCH, device) * seconds / BATCH)) * BATCH
    packed = round(MARGIN * side)
    data = of_noise(count, packed)
    names = ("bare student", *AUGMENTATIONS, *(f"{name}, views" for name in AUGMENTATIONS))
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):  # the first round warms up and is not counted
        found = {"bare student": bare(side, arch, count, device)}
        for name, augmentation in AUGMENTATIONS.items():
            config = config_of(side, arch, augmentation)
            run = prepare(
                config, data, device, autocast_dtype=None, out=folder, labels=folder / "labels", teacher_arch="cnn"
            )
            found |= {name: student_phase(run), f"{name}, views": views_alone(run)}
        for name, speed in found.items():
            measured[name] += [speed] if number else []
    print(f"\n{arch} at {side}×{side}, {count:,} images of {packed}×{packed}")
    for name, values in measured.items():
        print(f"  {name:16} {spread(values)}")
    for below in ("middle", "bare student"):
        ratios = [boxes / other for boxes, other in zip(measured["boxes"], measured[below], strict=True)]
        print(f"  {'boxes / ' + below:20} {spread(ratios, '.3f')}", flush=True)


def of_noise(count: int, side: int) -> Dataset:
    pixels, labels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8), torch.randint(CLASSES, (count,))
    train, validation = (
        Split(pixels[:images], labels[:images], torch.arange(images)) for images in (count, max(BATCH, count // 10))
    )
    names = tuple(map(str, range(CLASSES)))
    return Dataset("packed/noise", names, (0.5,) * 3, (0.25,) * 3, "noise", train, validation, validation)


def config_of(side: int, arch: str, augmentation: dict[str, Any]) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "dataset": "packed/noise",
            "input_size": side,
            "student": {"arch": arch},
            "augmentation": augmentation,
            "epochs": 1,
            "batch_size": BATCH,
            "views": 1,
        }
    )


def bare(side: int, arch: str, images: int, device: torch.device) -> float:
    """Images/s of a loop that does nothing but learn."""
    model = build(arch, CLASSES, (3, side, side)).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    inputs = torch.randn(BATCH, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(CLASSES, (BATCH,), device=device)
    began = now(device)
    for _ in range(images // BATCH):
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return images // BATCH * BATCH / (now(device) - began)


def student_phase(run: Run) -> float:
    """Images/s of a run's student phase, up to its last step: the evaluation behind it is the same for all."""
    log = Logbook(Position(), request={}, out=run.out, student=run.facts(run.config.student.arch), save_seconds=86_400)
    count = len(run.train)
    labels = torch.randn(count, 1, CLASSES, device=run.device).half()
    guidance = TableLabels(labels, torch.randn(len(run.validation), CLASSES), run.device, classes=CLASSES)
    model, objective = run.build(run.config.student.arch, "student"), Objective(run.config.objective)
    began = ended = 0.0
    for event in loop.fit(run, log, "student", model, run.config, objective, guidance=guidance):
        if event.event == "phase":
            began = now(run.device)
        if event.event == "step":
            ended = now(run.device)
    return count / (ended - began)


def views_alone(run: Run) -> float:
    """Images/s that are shown from their numbers."""
    viewer, image_N = run.train.viewer, torch.arange(len(run.train))
    view_NP = viewer.parameters(image_N, torch.zeros_like(image_N))
    began = now(run.device)
    for image_B, view_BP in zip(image_N.split(BATCH), view_NP.split(BATCH), strict=True):
        viewer.replay(image_B, view_BP)
    return len(image_N) / (now(run.device) - began)


def now(device: torch.device) -> float:
    """Seconds on the clock that counts, when all is done that was asked of the device."""
    wait(device)
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def spread(values: list[float], digits: str = ",.0f") -> str:
    return f"{median(values):>9{digits}} ({min(values):{digits}} to {max(values):{digits}})"


if __name__ == "__main__":
    main()
