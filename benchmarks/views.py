"""How many views of each image should a teacher label? An ablation of `config.views` against labelling live.

    python benchmarks/views.py --images fashion_mnist.npz [--train 6000] [--seeds 5] [--epochs 60]
                               [--teacher cnn] [--student cnn_small] [--views 1,4,16,all,live]

FILE.npz holds `images` (uint8 [N, H, W] or [N, H, W, C]), `labels` and `split` (2 for test images). The first images
of the training split are packed, 10,000 of the test split are kept. Crops after a padding of 4, and flips: 162 views.
One teacher a seed; every setting trains the same student from it. `live` is the mode `guide` with a fresh view each
epoch, which equals asking the teacher at every step. Results: docs/views.md.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from kd.data.packing import Chunk, pack
from kd.data.parts import TEST, TRAIN
from kd.events import Finished
from kd.run import run
from kd.spec import parse

AUGMENTATION = {"crop_padding": 4, "flip": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--train", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--teacher", default="cnn")
    parser.add_argument("--teacher-epochs", type=int, default=40)
    parser.add_argument("--student", default="cnn_small")
    parser.add_argument("--views", default="1,4,16,all,live")
    options = parser.parse_args()
    settings = options.views.split(",")
    gains: dict[str, list[float]] = {setting: [] for setting in settings}
    scores: dict[str, list[float]] = {setting: [] for setting in ["teacher", "control", *settings]}
    seconds: dict[str, list[float]] = {setting: [] for setting in settings}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        put(options.images, options.train, folder)
        for seed in range(options.seeds):
            first = distil(folder, f"control-{seed}", options, seed, views="1", control=True)
            scores["teacher"].append(first.metrics["teacher.test.top1"])
            scores["control"].append(first.metrics["control.test.top1"])
            for setting in settings:
                teacher = folder / f"control-{seed}" / "teacher.safetensors"
                finished = distil(folder, f"{setting}-{seed}", options, seed, views=setting, teacher=teacher)
                scores[setting].append(finished.metrics["student.test.top1"])
                gains[setting].append(scores[setting][-1] - scores["control"][-1])
                seconds[setting].append(finished.seconds["labelling"] + finished.seconds["student"])
            told = ", ".join(f"{name} {values[-1]:.2%}" for name, values in scores.items())
            print(f"seed {seed}: {told}", flush=True)
    print(f"\n{options.teacher} → {options.student}, {options.train:,} images, {options.epochs} epochs, ", end="")
    print(f"{options.seeds} seeds; test accuracy and gain over the control as mean ± standard deviation")
    print(f"| views | accuracy | gain, points | {options.views.split(',')[-1]} minus it, points | label + train, s |")
    for setting in settings:
        behind = [live - own for live, own in zip(scores[settings[-1]], scores[setting], strict=True)]
        print(
            f"| {setting} | {spread(scores[setting])} | {spread(gains[setting])} | {spread(behind)} "
            f"| {mean(seconds[setting]):.0f} |"
        )
    print(f"| control | {spread(scores['control'])} | | | |\n| teacher | {spread(scores['teacher'])} | | | |")


def put(images: Path, train: int, folder: Path) -> None:
    with np.load(images) as file:
        pixels, labels, split = file["images"], file["labels"].astype(np.int64), file["split"]
    pixels = pixels.reshape(len(pixels), *pixels.shape[1:3], -1)
    for_training, for_test = np.flatnonzero(split == 0)[:train], np.flatnonzero(split == 2)[:10_000]
    chunks = [Chunk(pixels[rows], labels[rows], split) for rows, split in ((for_training, TRAIN), (for_test, TEST))]
    pack(folder / "data", "packed/ablation", chunks)


def distil(
    folder: Path,
    name: str,
    options: argparse.Namespace,
    seed: int,
    *,
    views: str,
    control: bool = False,
    teacher: Path | None = None,
) -> Finished:
    """One run; its last word."""
    config = {
        "dataset": "packed/ablation",
        "teacher": {"job": "job_00000000000000000000000000"}
        if teacher
        else {"arch": options.teacher, "epochs": options.teacher_epochs, "patience": options.teacher_epochs},
        "student": {"arch": options.student},
        "augmentation": AUGMENTATION,
        "epochs": options.epochs,
        "seed": seed,
        "control": control,
        "checkpoint_seconds": 3600,
    }
    if views == "live":
        spec = {"mode": "guide", "config": config | {"rounds": {"epochs": 1, "views": 1}}}
    else:
        spec = {"mode": "train", "config": config | {"views": views if views == "all" else int(views)}}
    events = run(
        parse(json.dumps(spec)),
        folder / name,
        data_folder=folder / "data",
        label_folder=folder / "labels" / name,  # nothing is shared: every setting pays for its own labels
        teacher_files=[(teacher, None)] if teacher else [],
    )
    *_, last = events
    assert isinstance(last, Finished)
    return last


def spread(values: list[float]) -> str:
    return f"{mean(values):.2%} ± {stdev(values):.2%}" if len(values) > 1 else f"{values[0]:.2%}"


if __name__ == "__main__":
    main()
