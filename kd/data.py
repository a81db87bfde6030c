"""Data sets by name: uint8 images, labels, and three splits that never depend on a run's seed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd import catalog, sources
from kd.errors import DataError
from kd.splitmix import splitmix64

# Of the data sets that come without a test split, this share of each class becomes one.
TEST_FRACTION = 0.2

# Shapes: N = images, C = channels, H, W = height and width.


@dataclass(frozen=True)
class Split:
    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str  # sha256 of all that a model can see of it
    train: Split
    validation: Split
    test: Split

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def load(name: str, folder: Path, validation_fraction: float) -> Dataset:
    """The data set `name`, read from `folder` or from a package, else downloaded to `folder`.

    Raises `DataError` when there is none, or when it is damaged.
    """
    facts = catalog.DATASETS.get(name)
    if facts is None:
        raise DataError(name, catalog.unknown("data set", name, catalog.DATASETS) + ".")
    source = sources.read(name, folder)
    everything = Split(torch.from_numpy(source.images), torch.from_numpy(source.labels))
    _check(name, everything, source.classes)

    is_test_N = torch.arange(len(everything)) >= source.first_test
    if source.first_test == len(everything):
        is_test_N = drawn(everything.labels, torch.ones_like(is_test_N), TEST_FRACTION, "test")
    is_validation_N = drawn(everything.labels, ~is_test_N, validation_fraction, "validation")
    train, validation, test = (
        Split(everything.images[is_in_N], everything.labels[is_in_N])
        for is_in_N in (~is_test_N & ~is_validation_N, is_validation_N, is_test_N)
    )
    digest = _digest((source.classes, facts.mean, facts.std), (train, validation, test))
    return Dataset(name, source.classes, facts.mean, facts.std, digest, train, validation, test)


def drawn(labels_N: Tensor, among_N: Tensor, fraction: float, purpose: str) -> Tensor:
    """Which images to take as a share of each class among those allowed: bool [N], always the same ones.

    A smaller fraction takes a part of what a larger one takes.
    """
    salt = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big", signed=True)
    lot_N = splitmix64(splitmix64(torch.arange(len(labels_N))) ^ salt)
    taken_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for label in range(int(labels_N.max()) + 1):
        candidates = torch.nonzero(among_N & (labels_N == label)).flatten()
        count = max(1, round(fraction * len(candidates)))
        taken_N[candidates[lot_N[candidates].argsort()][:count]] = True
    return taken_N


def _check(name: str, everything: Split, classes: tuple[str, ...]) -> None:
    counts = torch.bincount(everything.labels, minlength=len(classes)).tolist()
    if len(counts) > len(classes):
        raise DataError(name, f"it has a label {len(counts) - 1}, but only {len(classes)} classes.")
    for label, count in enumerate(counts):
        if count < 3:
            raise DataError(name, f"class {classes[label]!r} has {count} images; each split needs one at least.")


def _digest(facts: object, splits: tuple[Split, ...]) -> str:
    digest = hashlib.sha256(json.dumps(facts).encode())
    for split in splits:
        digest.update(json.dumps(split.images.shape).encode())
        digest.update(split.images.numpy().data)
        digest.update(split.labels.numpy().data)
    return digest.hexdigest()
