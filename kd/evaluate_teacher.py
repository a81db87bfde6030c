"""Say how good a teacher is that somebody has brought, before anybody learns of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd import disk, outputs
from kd.data.dataset import load_dataset
from kd.data.parts import Name
from kd.errors import SpecUnfit, TeacherUnfit
from kd.evaluation.chance import weakness
from kd.evaluation.predict import predict
from kd.evaluation.scores import is_finite
from kd.events import Evaluated, Event, Finished, Noted, PhaseStarted, Started, Step, Wrote
from kd.report.evaluate import scores_of, size
from kd.report.shown.teacher import teacher_page
from kd.report.suspects import SHOWN
from kd.report.teacher import TEACHER, teacher_document
from kd.spec import TrainConfig
from kd.spec.evaluate import EvaluateConfig
from kd.teachers import uploads
from kd.teachers.files import arch_of_teacher, check_file, seen_by
from kd.teachers.obtain import LOOK_AGAIN, weights_of_upload
from kd.training.run import Run, Shown, prepare, shape_of

PHASE = "evaluating"
CPU = torch.device("cpu")
STEPS = 200
"""So often it is said how far it is."""
ON_DISK = 0
"""Bytes of images in memory: each is looked at once."""


def evaluate_teacher(
    config: EvaluateConfig,
    out: Path,
    *,
    data_folder: Path,
    teacher_file: tuple[Path, str | None],
    say: Callable[[Event], None],
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Show a teacher the splits that `config` asks for, on the CPU, say what it is worth there, and write `report.json`
    and `report.html` into the folder `out`.

    The file is what `kd.teachers.uploads` has written, with its sha256 or None. `go_on` is called before each batch,
    and may raise to end it. Raises a `KdError` for what a user can mend: missing data, a teacher that is damaged, does
    not know these classes, or answers no numbers.
    """
    began = time.monotonic()
    file, sha256 = teacher_file
    check_file(TEACHER, file, sha256)
    say(Started(mode="evaluate", device=CPU.type, precision="fp32", torch=torch.__version__))
    run = _prepare(config, out, data_folder, file)
    try:
        found = uploads.read_manifest(file)
    except uploads.NoSuchTeacher as error:
        raise TeacherUnfit(error.why) from error
    shown: dict[Name, Shown] = {
        name: run.train if name == "train" else run.validation if name == "validation" else run.test()
        for name in config.splits
    }
    images = sum(len(split) for split in shown.values())
    say(PhaseStarted(phase=PHASE, facts={"arch": run.teacher_arch, "images": images}))
    weights, described = weights_of_upload(run)
    say(Noted(code="teacher_brought", message=f"It is {described}."))

    model = run.build(run.teacher_arch, TEACHER, weights)
    metrics, logits, since = size(run, TEACHER, model), dict[Name, Tensor](), time.monotonic()
    seen, told = 0, 0

    def advance(batch: int) -> None:
        nonlocal seen, told
        go_on()
        seen += batch
        if seen - told < images / STEPS and seen < images:
            return
        told, rate = seen, seen / max(time.monotonic() - since, 1e-9)
        left = (images - seen) / rate
        say(Step(phase=PHASE, step=seen, fraction=seen / images, images_per_second=rate, eta_seconds=left))

    for name, split in shown.items():
        logits[name] = predict(model, split.viewer, progress=advance)
        scores = scores_of(logits[name], split.labels_N)
        if not is_finite(scores):
            raise TeacherUnfit(f"what it says of the {name} images are no finite numbers")
        metrics |= {f"{TEACHER}.{name}.{which}": value for which, value in scores.items()}
        metrics[f"{name}.images"] = len(split)
        say(Evaluated(phase=PHASE, step=seen, epoch=0, split=name, metrics=scores))

    about = found.said.model_dump(mode="json", exclude={"classes"}) | {"id": found.id, "described": described}
    content = teacher_document(run, about, logits, metrics)
    content["remarks"] = remarks(content, {name: split.labels_N for name, split in shown.items()})
    for message in content["remarks"]:
        say(Noted(code="evaluated", message=message))
    seconds = {PHASE: time.monotonic() - began}
    content |= {"config": config.model_dump(mode="json"), "seconds": seconds}
    say(Wrote(file=disk.write_json(content, out, Path(outputs.REPORT))))
    say(Wrote(file=disk.write_text(teacher_page(content), out, Path(outputs.PAGE))))
    say(Finished(step=images, metrics=metrics, seconds=seconds))


def _prepare(config: EvaluateConfig, out: Path, data_folder: Path, file: Path) -> Run:
    """What a run has at hand whose teacher this is. Raises `DataError`, `SpecUnfit` or `TeacherUnfit`."""
    fields = config.model_dump(include={"dataset", "validation_fraction", "input_size"})
    wanted = TrainConfig(**fields, teacher=config.teacher)
    dataset = load_dataset(config.dataset, data_folder, config.validation_fraction)
    for field, why in wanted.misfits(
        len(dataset.classes), dataset.shape, images=len(dataset.train), own_validation=dataset.own_validation
    ):
        raise SpecUnfit(field, why)
    return prepare(
        wanted,
        dataset,
        CPU,
        autocast_dtype=None,
        out=out,
        labels=out,
        teacher_arch=arch_of_teacher(config.teacher, file),
        teacher_file=file,
        teacher_sees=seen_by(config.teacher, file, shape_of(wanted, dataset)),
        resident_bytes=ON_DISK,
    )


def remarks(content: dict[str, Any], labels: dict[Name, Tensor]) -> list[str]:
    """What one should know before one learns of it, in sentences."""
    metrics, classes = content["metrics"], content["dataset"]["classes"]
    found = []
    for name, labels_N in labels.items():
        scores = {which: metrics[f"{TEACHER}.{name}.{which}"] for which in ("top1", "nll")}
        if weak := weakness(scores, labels_N, classes):
            found.append(f"On the {name} split it {weak}. Its labels will teach little: {LOOK_AGAIN}.")
    if not found:
        for name, doubted in content["suspects"].items():
            if doubted:
                images = "one image" if len(doubted) == 1 else f"{len(doubted)} images"
                images += " or more" * (len(doubted) == SHOWN)
                found.append(f"It is sure of another class than their label says on {images} of the {name} split.")
    return found
