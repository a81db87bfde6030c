"""How fast is the engine beside loops that do less, and beside loops that do the same the usual way?

    python benchmarks/engine.py [--rounds 5] [--pairs resnet32x4:resnet8x4,...] [--images FILE.npz]

For each pair of teacher and student, measured in turn, batch 64, images/s:
    bare student      forward, cross-entropy, backward, SGD on one resident tensor, channels last, and nothing else
    student phase     a job's student phase on labels that are there: views, kd + CE, metrics, evaluation, checkpoints
    bare teacher      its plain forward in inference mode on one resident tensor, at the fastest of some batch sizes
    labelling         a job's labelling phase: views, the folded teacher's forward, the table on disk
    live teacher      our student phase's loop with the teacher's forward in every step, as online distillation has it
    tutorial          DataLoader, a transform per image, the teacher in every step, .item() in every step
FILE.npz holds `images`, uint8 [N, H, W, C], and `labels`; without it pixels are random, which changes no speed.
Results with hardware: benchmarks/README.md.
"""

import argparse
import multiprocessing
import platform
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch
from pair import BATCH, Pair

from kd.machine import memory

PAIRS = "resnet32x4:resnet8x4,resnet56:resnet20,wrn_40_2:wrn_16_2,cnn:mlp,cnn:cnn_small"
OURS = ("student phase", "labelling", "live teacher")
THEIRS = ("bare student", "bare teacher", "tutorial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"batch {BATCH}, {options.rounds} rounds in turn; images/s as median (min to max)")
    for pair in options.pairs.split(","):
        compare(*pair.split(":"), options.images, options.rounds)


def compare(teacher: str, student: str, images: Path | None, rounds: int) -> None:
    """Measure everything in turn and print a table."""
    name = "cifar100" if student.startswith(("resnet", "wrn")) else "mnist5k"
    images = images if name == "cifar100" else None
    measured: dict[str, list[float]] = {work: [] for work in (*OURS, *THEIRS, "student steps")}
    # Two processes that work in turn: a run tells malloc to keep what is freed, which the usual loop does not.
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        sides = [
            (processes.enter_context(side(teacher, student, name, images, Path(folder) / of, of == "ours")), works)
            for of, works in (("ours", OURS), ("theirs", THEIRS))
        ]
        for number in range(rounds + 1):  # the first round warms up and is not counted
            for process, works in sides:
                for work in works:
                    found = process.submit(measure, work).result()
                    if number:
                        for of, speed in found.items():
                            measured[of].append(speed)
    print(f"\n{teacher} → {student}, {name} {'images' if images else 'shapes'}")
    for work, values in measured.items():
        print(f"  {work:16} {spread(values)}")
    for above, below, why in (
        ("student phase", "bare student", "what the engine costs"),
        ("student steps", "bare student", "the same without the evaluation after the epoch"),
        ("labelling", "bare teacher", "what views and the table cost"),
        ("student phase", "live teacher", "what labelling once saves"),
        ("student phase", "tutorial", "beside the usual loop"),
    ):
        ratios = [ours / theirs for ours, theirs in zip(measured[above], measured[below], strict=True)]
        print(f"  {above + ' / ' + below:28} {spread(ratios, '.3f')}   {why}", flush=True)


def side(
    teacher: str, student: str, name: str, images: Path | None, folder: Path, as_a_run: bool
) -> ProcessPoolExecutor:
    """A process that measures what it is asked to."""
    arguments = (teacher, student, name, images, folder, as_a_run)
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=prepare, initargs=arguments)


def prepare(teacher: str, student: str, name: str, images: Path | None, folder: Path, as_a_run: bool) -> None:
    global pair
    if as_a_run and not torch.cuda.is_available():
        memory.keep_what_is_freed()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pair = Pair(teacher, student, name, images, device, folder)


def measure(work: str) -> dict[str, float]:
    """Images/s of one of the loops, by name."""
    found = {work: pair.works()[work]()}
    return found | {"student steps": pair.steps_speed} if work == "student phase" else found


pair: Pair


def spread(values: list[float], digits: str = ",.0f") -> str:
    return f"{median(values):>9{digits}} ({min(values):{digits}} to {max(values):{digits}})"


if __name__ == "__main__":
    main()
