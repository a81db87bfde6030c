"""Say how good a teacher is that somebody has brought, before anybody learns of it."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd import disk, outputs
from kd.data.dataset import load_dataset, sample
from kd.data.parts import Name
from kd.errors import SpecUnfit, TeacherUnfit
from kd.evaluation.chance import weakness
from kd.evaluation.predict import SMALLEST_BATCH, predict
from kd.evaluation.scores import is_finite
from kd.events import Evaluated, Event, Finished, Noted, PhaseStarted, Started, Step, Wrote
from kd.models.own import networks
from kd.models.own.names import is_own
from kd.report.evaluate import scores_of, size
from kd.report.shown.teacher import teacher_page
from kd.report.suspects import SHOWN
from kd.report.teacher import TEACHER, teacher_document
from kd.run import check_pixels
from kd.spec import TrainConfig
from kd.spec.evaluate import EvaluateConfig
from kd.teachers.files import arch_of_teacher, check_file, seen_by
from kd.teachers.obtain import LOOK_AGAIN, uploaded, weights_of_upload
from kd.training.run import Run, Shown, prepare, shape_of
from kd.views import pixels

PHASE = "evaluating"
CPU = torch.device("cpu")
STEPS = 200
"""So often it is said how far it is."""
ON_DISK = 0
"""Bytes of images in memory: each is looked at once."""


def evaluate_teacher(
    config: EvaluateConfig, out: Path, *, data_folder: Path, teacher_file: tuple[Path, str | None]
) -> Iterator[Event]:
    """Show a teacher the splits that `config` asks for, on the CPU, say what it is worth there, and write `report.json`
    and `report.html` into the folder `out`. To stop, stop iterating.

    The file is what `kd.teachers.uploads` has written, with its sha256 or None. Raises a `KdError` for what a user can
    mend: missing data, a teacher that is damaged, does not know these classes, or answers no numbers.
    """
    began, (file, sha256) = time.monotonic(), teacher_file
    yield Started(mode="evaluate", device=CPU.type, precision="fp32", torch=torch.__version__)
    check_file(TEACHER, file, sha256)
    run = _prepare(config, out, data_folder, file)
    shown: dict[Name, Shown] = {
        name: run.train if name == "train" else run.validation if name == "validation" else run.test()
        for name in config.splits
    }
    images = sum(map(len, shown.values()))
    yield PhaseStarted(phase=PHASE, facts={"arch": run.teacher_arch, "images": images})
    found = uploaded(run)
    weights, described = weights_of_upload(run, found)
    yield Noted(code="teacher_brought", message=f"It is {described}.")

    model = run.build(run.teacher_arch, TEACHER, weights)
    logits: dict[Name, Tensor] = {}
    yield from _ask(model, shown, logits)
    metrics = size(run, TEACHER, model)
    for name, split in shown.items():
        scores = scores_of(logits[name], split.labels_N)
        if not is_finite(scores):
            raise TeacherUnfit(f"what it says of the {name} images are no finite numbers")
        metrics |= {f"{TEACHER}.{name}.{which}": value for which, value in scores.items()}
        metrics[f"{name}.images"] = len(split)
        yield Evaluated(phase=PHASE, step=images, epoch=0, split=name, metrics=scores)

    about = {"id": found.id, "name": found.said.name, "kind": found.kind, "described": described}
    content = teacher_document(run, about, logits, metrics)
    content["remarks"] = remarks(content, {name: split.labels_N for name, split in shown.items()})
    for message in content["remarks"]:
        yield Noted(code="evaluated", message=message)
    seconds = {PHASE: time.monotonic() - began}
    content |= {"config": config.model_dump(mode="json"), "seconds": seconds}
    yield Wrote(file=disk.write_json(content, out, Path(outputs.REPORT)))
    yield Wrote(file=disk.write_text(teacher_page(content), out, Path(outputs.PAGE)))
    yield Finished(step=images, metrics=metrics, seconds=seconds)


def _prepare(config: EvaluateConfig, out: Path, data_folder: Path, file: Path) -> Run:
    """What a run has at hand whose teacher this is. Raises what there is to say of the two."""
    wanted = TrainConfig(
        dataset=config.dataset,
        validation_fraction=config.validation_fraction,
        input_size=config.input_size,
        teacher=config.teacher,
    )
    dataset = load_dataset(config.dataset, data_folder, config.validation_fraction)
    if dataset.train.source.nbytes <= pixels.budget(CPU):
        check_pixels(config.dataset, data_folder)
    classes, shape = len(dataset.classes), shape_of(wanted, dataset)
    faults = wanted.misfits(classes, dataset.shape, images=len(dataset.train), own_validation=dataset.own_validation)
    for field, why in (*faults, *config.too_much(classes)):
        raise SpecUnfit(field, why)
    arch = arch_of_teacher(config.teacher, file)
    sees = seen_by(config.teacher, file, shape)
    if is_own(arch):
        networks.check(arch, classes, shape if sees is None else sees.shape, learns=False)
    return prepare(
        wanted,
        sample(dataset, config.images),
        CPU,
        autocast_dtype=None,
        out=out,
        labels=out,
        teacher_arch=arch,
        teacher_file=file,
        teacher_sees=sees,
        resident_bytes=ON_DISK,
    )


def _ask(model: nn.Module, shown: Mapping[Name, Shown], logits: dict[Name, Tensor]) -> Iterator[Event]:
    """Fill in what the model says of each split, float32 [N, C], and say how far it is. A few images at a time: it may
    be large, and has one core."""
    images, seen, told, since = sum(map(len, shown.values())), 0, 0, time.monotonic()
    every = math.ceil(images / STEPS)
    for name, split in shown.items():
        answers = []
        for image_B in torch.split(torch.arange(len(split)), SMALLEST_BATCH):
            answers.append(predict(model, split.viewer, images=image_B))
            seen += len(image_B)
            if seen - told >= every or seen == images:
                told, rate = seen, seen / max(time.monotonic() - since, 1e-9)
                yield Step(
                    phase=PHASE,
                    step=seen,
                    fraction=seen / images,
                    images_per_second=rate,
                    eta_seconds=(images - seen) / rate,
                )
        logits[name] = torch.cat(answers)


def remarks(content: Mapping[str, Any], labels: Mapping[Name, Tensor]) -> list[str]:
    """What one should know before one learns of it, in sentences."""
    metrics, classes = content["metrics"], content["dataset"]["classes"]
    found = []
    for name, labels_N in labels.items():
        scores = {which: metrics[f"{TEACHER}.{name}.{which}"] for which in ("top1", "nll")}
        if weak := weakness(scores, labels_N, classes):
            found.append(f"On the {name} split it {weak}. Its labels will teach little: {LOOK_AGAIN}.")
    if found:
        return found  # what such a teacher doubts says nothing
    for name, doubted in content["suspects"].items():
        if doubted:
            images = "one image" if len(doubted) == 1 else f"{len(doubted)} images"
            images += " or more" * (len(doubted) == SHOWN)
            found.append(f"It is sure of another class than their label says on {images} of the {name} split.")
    return found
