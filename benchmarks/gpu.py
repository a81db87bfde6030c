"""What a GPU makes of it: images/s of each phase, the whole 240-epoch CIFAR-100 recipe, idle time, peak memory.

    python benchmarks/gpu.py [--images cifar100.npz] [--pairs resnet32x4:resnet8x4,...] [--epochs 240] [--rounds 5]

One command, one table, for each pair of teacher and student: images/s of the student phase on labels that are there,
of labelling, and of a step with a live teacher, as medians of `--rounds`; then one student phase of `--epochs` epochs
over 45,000 images as a job runs it. "Waits" is the share of a second in which the GPU had no kernel running, from
torch's profiler over 50 steps. Without FILE.npz (`images` uint8 [N, H, W, C], `labels`) pixels are random, which
changes no speed. Needs a CUDA device. Results with hardware: benchmarks/README.md.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from pair import BATCH, Pair, wait
from torch.profiler import ProfilerActivity, profile

from kd.objectives.objective import Objective
from kd.train import TableLabels
from kd.training import loop

PAIRS = "resnet32x4:resnet8x4,wrn_40_2:wrn_16_2,resnet56:resnet20"
IMAGES = 45_000
PROFILED_STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--epochs", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here. On a CPU: python benchmarks/engine.py")

    device = torch.device("cuda", 0)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}, batch {BATCH}, bf16 forward, fp32 losses")
    head = "| teacher → student | student img/s | labelling img/s | live teacher img/s | waits | peak memory "
    print(head + f"| {options.epochs} epochs |\n|---|---|---|---|---|---|---|")
    for names in options.pairs.split(","):
        teacher, student = names.split(":")
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(teacher, student, "cifar100", options.images, device, Path(folder))
            pair.student_images = pair.teacher_images = pair.both_images = min(IMAGES, len(pair.labels))
            works = (pair.student_phase, pair.labelling, pair.live_teacher)
            for work in works:
                work()  # warms up: kernels are chosen, memory is allocated
            speeds = [median(work() for _ in range(options.rounds)) for work in works]
            torch.cuda.reset_peak_memory_stats()
            seconds = recipe(pair, options.epochs)
            cells = [
                f"{teacher} → {student}",
                *(f"{speed:,.0f}" for speed in speeds),
                f"{idle_share(pair):.0%}",
                f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB",
                f"{seconds:.0f} s",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


def recipe(pair: Pair, epochs: int) -> float:
    """Seconds of a student phase as a job runs it, on labels that are there; after each epoch it is evaluated."""
    began = time.perf_counter()
    for _ in student_phase(pair, epochs):
        pass
    wait(pair.device)
    return time.perf_counter() - began


def idle_share(pair: Pair) -> float:
    """The share of the time of some steps in which no kernel ran: the GPU waited for the host."""
    events = student_phase(pair, 1, images=PROFILED_STEPS * BATCH)
    next(events)
    wait(pair.device)
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for event in events:
            if event.event == "step":
                wait(pair.device)
                break
    seconds = time.perf_counter() - began
    busy = sum(kernel.self_device_time_total for kernel in profiled.key_averages()) / 1e6
    return max(0.0, 1 - busy / seconds)


def student_phase(pair: Pair, epochs: int, images: int = IMAGES):
    run, log = pair.run(images)
    config = pair.config.model_copy(update={"epochs": epochs, "checkpoint_seconds": 10.0})
    count, classes = len(run.train), pair.classes
    table = torch.randn(count, 4, classes, device=pair.device).half()
    guidance = TableLabels(table, torch.randn(len(run.validation), classes), pair.device, classes=classes)
    model, objective = run.build(config.student.arch, "student"), Objective(config.objective)
    return loop.fit(run, log, "student", model, config, objective, guidance=guidance)


if __name__ == "__main__":
    main()
