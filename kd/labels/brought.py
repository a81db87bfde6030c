"""Labels that somebody made elsewhere, as a run learns from them: read, put into the run's order, and looked at."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd.data import npy
from kd.data.splits import Split
from kd.disk import sha256_of
from kd.errors import LabelsUnfit
from kd.evaluation.chance import weakness
from kd.evaluation.scores import score
from kd.events import Evaluated, Event, Noted, PhaseStarted
from kd.labels import table
from kd.labels.cache import ARRAY, MANIFEST, PARAMETERS
from kd.labels.manifest import Manifest, read_manifest
from kd.labels.table import Table
from kd.training.logbook import Logbook
from kd.training.run import Run

# Shapes: N = images, C = classes.


@dataclass(frozen=True)
class Brought:
    """What the labels say of each split; of validation and test nothing, unless they know every image of it."""

    name: str
    table: Table  # of the training images, [N, 1, C]
    validation: Tensor | None  # float32 [N, C]
    test: Tensor | None
    scores: dict[str, float]  # on the training images


def read_labels(run: Run, name: str) -> Brought:
    """The table of this name. Raises `LabelsUnfit` when it is gone, of other images, or in another order."""
    path = run.labels / f"{name}{ARRAY}"
    manifest, said = read_manifest(path.with_suffix(MANIFEST)), table.read(path)
    if manifest is None or said is None:
        raise LabelsUnfit(name, "it is not there, or damaged")
    dataset = run.dataset
    if why := misfit(run, manifest):
        raise LabelsUnfit(name, why)
    row_of = rows_by_image(run, name, manifest)
    training_N = rows_of(dataset.train, row_of)
    if len(missing := np.flatnonzero(training_N < 0)):
        first = int(dataset.train.numbers[missing[0]])
        raise LabelsUnfit(name, f"it knows nothing of {len(missing):,} of the training images, such as image {first}")
    labels_N1C = said[training_N]
    scores = score(torch.from_numpy(labels_N1C[:, 0]).float(), dataset.train.labels)
    # The one sign of another order that nobody can overlook. How sure they are (`nll`) is no matter of order.
    if why := weakness(scores | {"nll": 0.0}, dataset.train.labels, len(dataset.classes)):
        raise LabelsUnfit(name, f"it {why}. It is of other images or classes, or in another order")
    validation, test = (
        None if (row_N := rows_of(split, row_of)).min() < 0 else torch.from_numpy(said[row_N, 0]).float()
        for split in (dataset.validation, dataset.test)
    )
    return Brought(name, labels_N1C, validation, test, scores)


def misfit(run: Run, manifest: Manifest) -> str | None:
    """What keeps a table from being of this run's data, if anything does."""
    dataset = run.dataset
    if manifest.origin != "pushed":
        return "a teacher labelled it here, view by view; name that teacher's job instead"
    if manifest.dataset_name != dataset.name:
        return f"its labels are of {manifest.dataset_name}, and this run is on {dataset.name}"
    if manifest.shape[2] != len(dataset.classes):
        return f"it knows {manifest.shape[2]} classes, {dataset.name} has {len(dataset.classes)}"
    if dataset.source_digest is not None and manifest.dataset != dataset.source_digest:
        return f"{dataset.name} has been packed anew since, and has another digest"
    return None


def rows_by_image(run: Run, name: str, manifest: Manifest) -> NDArray[np.int64]:
    """In which row the label of each image of the data set is; -1: in none."""
    path = run.labels / f"{name}{PARAMETERS}"
    try:
        if sha256_of(path) != manifest.view_parameters.sha256:
            raise ValueError("another content")
        image_N = npy.open_map(path, "r").reshape(-1)
    except (OSError, ValueError) as error:
        raise LabelsUnfit(name, "it is not there, or damaged") from error
    images = sum(map(len, (run.dataset.train, run.dataset.validation, run.dataset.test)))
    row_of = np.full(max(images, int(image_N.max()) + 1), -1, np.int64)
    row_of[image_N] = np.arange(len(image_N))
    return row_of


def rows_of(split: Split, row_of: NDArray[np.int64]) -> NDArray[np.int64]:
    row_N: NDArray[np.int64] = row_of[split.numbers.numpy()]
    return row_N


def take_labels(run: Run, log: Logbook, brought: Brought) -> Iterator[Event]:
    """Say what teaches here, and how good it is."""
    log.enter("labelling")
    yield PhaseStarted(phase="labelling", facts={"images": len(run.train), "views": 1, "bytes": brought.table.nbytes})
    message = (
        f"The teacher is the label table {brought.name}, which is right on {brought.scores['top1']:.1%} of the "
        "training images: no model teaches here."
    )
    yield Noted(code="labels_brought", message=message)
    if brought.validation is not None:
        found = score(brought.validation, run.dataset.validation.labels)
        yield Evaluated(phase="teacher", step=log.position.step, epoch=0, split="validation", metrics=found)
