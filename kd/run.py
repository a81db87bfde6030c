"""Start a run: from a spec to the pipeline of its mode."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from kd import checkpoint, data, evaluate, models
from kd.checkpoint import Position
from kd.errors import BadResume, DeviceMissing
from kd.events import Event, Started
from kd.guide import guide
from kd.spec import GuideSpec, TrainSpec
from kd.train import train
from kd.workbench import Workbench

PIPELINES: dict[str, Callable[[Workbench], Iterator[Event]]] = {"train": train, "guide": guide}


def run(
    spec: TrainSpec | GuideSpec,
    out: Path | str,
    resume: Path | str | None = None,
    *,
    data_folder: Path | str = "data",
    label_folder: Path | str | None = None,
    device: str = "auto",
) -> Iterator[Event]:
    """Distil as `spec` says, into the folder `out`, saying what happens. To stop, stop iterating.

    `resume` is a `resume.pt` that an earlier run of the same spec saved. Data sets are looked for in
    `data_folder`; label tables are kept in `label_folder` (default: `labels` beside the data).
    Raises a `KdError` for what a user can mend: missing data, a loss that diverged, a damaged resume state.
    """
    config, out, data_folder = spec.config, Path(out), Path(data_folder)
    out.mkdir(parents=True, exist_ok=True)
    where = find_device(device)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and where.type == "cuda")
    position = Position()
    # Without defaults: a field that a later version adds does not make this another run.
    run_digest = hashlib.sha256(spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()
    if resume is not None:
        position = checkpoint.load_position(Path(resume), run_digest)
    yield Started(
        mode=spec.mode,
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        precision="bf16" if bf16 else "fp32",
        torch=torch.__version__,
        resumed_from_step=position.step,
    )

    dataset = data.load(config.dataset, data_folder, config.validation_fraction)
    if resume is not None and position.dataset != dataset.digest:
        raise BadResume(Path(resume), f"the data set {config.dataset} has changed since")
    position.dataset = dataset.digest
    bench = Workbench(
        config=config,
        dataset=dataset,
        device=where,
        autocast=torch.bfloat16 if bf16 else None,
        position=position,
        digest=run_digest,
        out=out,
        labels=Path(label_folder) if label_folder is not None else data_folder / "labels",
    )
    plan_work(bench)
    yield from PIPELINES[spec.mode](bench)


def find_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; anything else is taken at its word."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceMissing(name)
    return device


def plan_work(bench: Workbench) -> None:
    """Tell the progress what each phase will cost, and what is behind us."""
    config, dataset = bench.config, bench.dataset
    channels, height, width = dataset.shape
    pixels, images = channels * height * width, len(dataset.train.labels)
    macs = {
        role: evaluate.macs(outline(arch, dataset), dataset.shape)
        for role, arch in (("teacher", config.teacher.arch), ("student", config.student.arch))
    }
    expect = bench.progress.expect
    expect("teacher", images * config.teacher.epochs, macs["teacher"], pixels, training=True)
    expect("labelling", images * bench.views_to_label, macs["teacher"], pixels, training=False)
    expect("student", images * config.epochs, macs["student"], pixels, training=True)
    if config.control:
        expect("control", images * config.epochs, macs["student"], pixels, training=True)
    expect("evaluating", 3 * len(dataset.test.labels), macs["teacher"], pixels, training=False)
    position = bench.position
    for phase in position.finished:
        bench.progress.done(phase, 1)
    if "student" in position.finished:
        bench.progress.done("labelling", 1)
    if position.current is not None:
        epochs = config.teacher.epochs if position.phase == "teacher" else config.epochs
        bench.progress.done(position.phase, position.current["epoch"] / epochs)
    bench.progress.start_clock()


def outline(arch: str, dataset: data.Dataset) -> nn.Module:
    """A model that is all shapes and no weights, where it can be had: a large one takes seconds to make for real."""
    try:
        with torch.device("meta"):
            return models.build(arch, len(dataset.classes), dataset.shape)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return models.build(arch, len(dataset.classes), dataset.shape)
