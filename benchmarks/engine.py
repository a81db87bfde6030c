"""How much of a bare training loop's speed is left once a student trains on cached labels in Stillhouse?

    python benchmarks/engine.py [--rounds 5] [--models mlp,cnn_small,resnet8x4,resnet20]

Both sides train the same student at batch 64 in turn, in one process. The bare loop is forward, cross-entropy,
backward and SGD step on one resident tensor, channels last, and nothing else. Ours is the student phase as it
runs in a job: views cut and normalised on the device, labels looked up, kd + cross-entropy, metrics, evaluation
after each epoch, checkpoints. Results with hardware: benchmarks/README.md.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from kd import catalog, models, training
from kd.checkpoint import Position
from kd.data import Dataset, Split
from kd.events import Saved
from kd.spec import Objective, TrainConfig
from kd.train import TableLabels
from kd.workbench import Workbench

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="mlp,cnn_small,cnn,resnet8x4,resnet20")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"batch {BATCH}, {options.rounds} rounds in turn; images/s as median (min to max)\n")
    print(f"{'student':12} {'data':16} {'bare loop':>26} {'student phase':>26} {'ratio':>22}")
    for arch in options.models.split(","):
        name = "cifar100" if arch.startswith(("resnet", "wrn")) else "mnist5k"
        compare(arch, name, options.rounds, device)


def compare(arch: str, name: str, rounds: int, device: torch.device) -> None:
    """Measure both loops in turn and print one line."""
    # Long enough to measure, short enough to repeat: about three seconds each on two cores.
    images = {"mlp": 40_000, "cnn_small": 20_000, "cnn": 6_400}.get(arch, 1_280 if "x4" in arch else 2_560)
    dataset = noise(name, images)
    ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first round warms up and is not counted
            bare, phase = bare_loop(arch, dataset, device), student_phase(arch, dataset, device, Path(folder))
            if number:
                ours[0].append(images / bare)
                ours[1].append(images / phase)
    ratios = [phase / bare for bare, phase in zip(*ours, strict=True)]
    print(f"{arch:12} {name + ' shapes':16} {spread(ours[0])} {spread(ours[1])} {spread(ratios, '.3f', 22)}")


def bare_loop(arch: str, dataset: Dataset, device: torch.device) -> float:
    """Seconds for one pass of nothing but training."""
    model = models.build(arch, len(dataset.classes), dataset.shape).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    inputs = torch.randn(BATCH, *dataset.shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(len(dataset.classes), (BATCH,), device=device)
    model.train()
    return timed(device, lambda: [bare_step(model, optimizer, inputs, labels) for _ in range(steps(dataset))])


def bare_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor, labels: torch.Tensor
) -> None:
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def student_phase(arch: str, dataset: Dataset, device: torch.device, folder: Path) -> float:
    """Seconds for one epoch of the student phase, from a label table that is there."""
    config = TrainConfig(
        student={"arch": arch}, epochs=1, batch_size=BATCH, augmentation={"crop_padding": 2, "flip": True}
    )
    bench = Workbench(config, dataset, device, None, Position(), "benchmark", folder, folder)
    table = torch.randn(len(dataset.train.labels), 4, len(dataset.classes), device=device).half()
    validation = torch.randn(len(dataset.validation.labels), len(dataset.classes))
    model = bench.build(arch, "student")
    guidance = TableLabels(Objective(), validation, table)

    def train() -> None:
        for event in training.fit(bench, "student", model, config, guidance=guidance):
            assert not isinstance(event, Saved) or event.step > 0

    return timed(device, train)


def noise(name: str, images: int) -> Dataset:
    """Random pixels in a data set's shapes: speed does not depend on what is in the picture."""
    facts = catalog.DATASETS[name]

    def split(count: int) -> Split:
        pixels = torch.randint(256, (count, *facts.shape), dtype=torch.uint8)
        return Split(pixels, torch.randint(facts.classes, (count,)))

    classes = tuple(str(number) for number in range(facts.classes))
    return Dataset(name, classes, facts.mean, facts.std, "noise", split(images), split(images // 10), split(10))


def steps(dataset: Dataset) -> int:
    return len(dataset.train.labels) // BATCH


def timed(device: torch.device, work: Callable[[], object]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def spread(values: list[float], digits: str = ",.0f", width: int = 26) -> str:
    text = f"{median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"
    return f"{text:>{width}}"


if __name__ == "__main__":
    main()
