"""Make a file of a student that runs elsewhere, and offer it only if it says the same."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from kd import disk, outputs
from kd.data import packed_facts
from kd.data.dataset import load_dataset, sample
from kd.errors import DataError, ExportUnfit, GraphLost, GraphUnfit, NotConverted
from kd.events import Event, Finished, Noted, PhaseStarted, Started, Step, Wrote
from kd.export import verify
from kd.export.archive import archive, preprocess, readme
from kd.export.onnx import onnx_file
from kd.models.onnx.session import Session
from kd.models.safetensors.facts import Facts
from kd.models.weights import check_content, load_model
from kd.spec import TrainConfig
from kd.spec.export import ExportConfig
from kd.training.run import Run, prepare
from kd.version import VERSION

EXPORTING, VERIFYING = "exporting", "verifying"
CPU = torch.device("cpu")
ON_DISK = 0
SHARE_OF_EXPORTING, SHARE_VERIFIED = 0.3, 0.95
"""Of all the time."""
CHANNELS = (1, 3)
"""Of images that are files, gray or in colour."""


def export(
    config: ExportConfig, out: Path, *, data_folder: Path, model_file: tuple[Path, str | None]
) -> Iterator[Event]:
    """Make the file that `config` asks for of the weights in `model_file` (and their sha256, or None), hold it against
    the model on test images, and write it into the folder `out`: alone, and in an archive with all that one needs to
    run it. To stop, stop iterating.

    Raises a `KdError`: for weights that are damaged, a model that torch cannot export, images that are gone; and
    `ExportUnfit` for a file that does not say what the model says.
    """
    began, (file, sha256) = time.monotonic(), model_file
    yield Started(mode="export", device=CPU.type, precision="fp32", torch=torch.__version__)
    check_content(file, sha256)
    model, facts = load_model(file)
    yield PhaseStarted(phase=EXPORTING, facts={"arch": facts.arch, "format": config.format})
    if (channels := facts.shape[0]) not in CHANNELS:
        raise NotConverted(f"it sees images of {channels} channels, and files of images are gray or in colour")
    whose = f"the {config.model.role} of {config.model.job}"
    says = {"made_of": whose, "architecture": facts.arch, "made_by": f"Stillhouse {VERSION}"}
    content = onnx_file(model, facts, preprocessing=config.preprocessing, says=says)
    exported = time.monotonic()
    yield Step(phase=EXPORTING, step=0, fraction=SHARE_OF_EXPORTING)

    run = _prepare(config, facts, out, data_folder)
    test = run.test()
    yield PhaseStarted(phase=VERIFYING, facts={"images": len(test)})
    session = Session(content, threads=torch.get_num_threads())
    try:
        batch = session.open().batch
        for comparison in verify.compare(model, facts, session, test, preprocessing=config.preprocessing):
            done = SHARE_OF_EXPORTING + (SHARE_VERIFIED - SHARE_OF_EXPORTING) * comparison.images / len(test)
            yield Step(phase=VERIFYING, step=comparison.images, fraction=done)
        comparison.judge(loses_at_most=config.loses_at_most)
        latency: dict[str, dict[str, float]] = {}
        with suppress(GraphLost):  # it is verified; only nobody knows how fast it is
            for size, seconds in verify.latencies(model, facts, session, preprocessing=config.preprocessing):
                latency[size] = seconds
                yield Step(phase=VERIFYING, step=comparison.images, fraction=SHARE_VERIFIED)
    except GraphLost:
        raise
    except GraphUnfit as error:
        raise ExportUnfit(error.why) from error
    finally:
        session.close()

    found = {
        "format": config.format,
        "made_of": whose,
        **comparison.told(),
        "loses_at_most": config.loses_at_most,
        "bytes": len(content),
        "weights_bytes": file.stat().st_size,
        "latency_seconds": latency,
        "threads": torch.get_num_threads(),
        "dataset": run.dataset.name,
        "digest": run.dataset.digest,
    }
    yield Wrote(file=disk.write_json(found, out, Path(outputs.VERIFIED)))
    yield Wrote(file=disk.write(out, Path(outputs.ONNX), lambda to: to.write(content)))
    how = preprocess(
        facts, run.dataset.shape, _resized(config, data_folder), _seen(run), batch=batch, within=config.preprocessing
    )
    packed = archive(content, readme(found, how, facts), found, how, facts)
    yield Wrote(file=disk.write(out, Path(outputs.ONNX_ARCHIVE), lambda to: to.write(packed)))
    yield Noted(
        code="verified",
        message=f"The file is right on {found['top1']:.2%} of {found['images']:,} test images, the student on "
        f"{found['student_top1']:.2%}; they agree on {found['agreement']:.2%}.",
    )
    yield Finished(step=len(test), metrics=_flat(found), seconds=_seconds(began, exported))


def _seconds(began: float, exported: float) -> dict[str, float]:
    return {EXPORTING: exported - began, VERIFYING: time.monotonic() - exported}


def _flat(found: dict[str, Any]) -> dict[str, float]:
    """The numbers of what was found, as a job's result has them."""
    numbers: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            numbers |= {f"{name}.{inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, int | float):
            numbers[name] = value
    return numbers


def _prepare(config: ExportConfig, facts: Facts, out: Path, data_folder: Path) -> Run:
    """Test images as the model sees them. Raises `DataError`, also where they are no longer those from which it has
    learnt."""
    dataset = load_dataset(config.dataset, data_folder, config.validation_fraction)
    wanted = TrainConfig(
        dataset=config.dataset, validation_fraction=config.validation_fraction, input_size=config.input_size
    )
    run = prepare(
        wanted,
        sample(dataset, config.images),
        CPU,
        autocast_dtype=None,
        out=out,
        labels=out,
        teacher_arch="",
        resident_bytes=ON_DISK,
    )
    here = run.facts(facts.arch)
    if here != facts:
        raise DataError(dataset.name, "it is not the one from which the student has learnt: it was packed anew.")
    return run


def _resized(config: ExportConfig, data_folder: Path) -> packed_facts.Resized | None:
    """How photos came to the size of the data set's images."""
    return packed_facts.read(data_folder, config.dataset).resized if packed_facts.is_packed(config.dataset) else None


def _seen(run: Run) -> dict[str, Any]:
    """What of an image of the data set the model sees."""
    top, left, height, width = run.train.viewer.seen
    return {"box": {"top": top, "left": left, "height": height, "width": width}, "size": list(run.shape[1:])}
