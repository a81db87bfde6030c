"""Data sets by name: uint8 images, labels, and three splits that never depend on a run's seed."""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd import catalog, packed, packed_facts, sources
from kd.errors import DataError
from kd.splitmix import splitmix64

# Of the data sets that come without a test split, this share of each class becomes one.
TEST_FRACTION = 0.2

# Shapes: N = images, C = channels, H, W = height and width.


@dataclass(frozen=True)
class Split:
    """Images of a source and their labels. A part of a packed data set names its rows and copies no image."""

    source: Tensor  # uint8 [M, C, H, W]; mapped, where it may be larger than memory
    labels: Tensor  # int64 [N]
    rows: Tensor | None = None  # int64 [N], which of the source's images; None: all of them

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        _, channels, height, width = self.source.shape
        return channels, height, width

    @property
    def images(self) -> Tensor:
        """All of them at once, uint8 [N, C, H, W]: those of a packed data set are read into memory for it."""
        return self.source if self.rows is None else self.source[self.rows]


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
        return self.train.shape


def load(name: str, folder: Path, validation_fraction: float) -> Dataset:
    """The data set `name`, read from `folder` or from a package, else downloaded to `folder`.

    Of a packed one only the labels are read. Raises `DataError` when there is none, or when it is damaged.
    """
    if packed_facts.is_packed(name):
        return _load_packed(name, folder, validation_fraction)
    facts = catalog.DATASETS.get(name)
    if facts is None:
        raise DataError(name, catalog.unknown("data set", name, catalog.DATASETS) + ".")
    source = sources.read(name, folder)
    images, labels_N = torch.from_numpy(source.images), torch.from_numpy(source.labels)
    is_test_N = torch.arange(len(labels_N)) >= source.first_test
    cut = _cut(name, labels_N, is_test_N, source.classes, validation_fraction)
    train, validation, test = (Split(images[is_in_N], labels_N[is_in_N]) for is_in_N in cut)
    digest = _digest((source.classes, facts.mean, facts.std), (train, validation, test))
    return Dataset(name, source.classes, facts.mean, facts.std, digest, train, validation, test)


def _load_packed(name: str, folder: Path, validation_fraction: float) -> Dataset:
    source = packed.read(folder, name)
    facts = source.facts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the map cannot be written to: nobody does
        images = torch.from_numpy(source.images).permute(0, 3, 1, 2)
    labels_N, is_test_N = torch.from_numpy(source.labels), torch.from_numpy(source.is_test)
    cut = _cut(name, labels_N, is_test_N, facts.classes, validation_fraction)
    digest = hashlib.sha256(facts.digest.encode())
    splits = []
    for is_in_N in cut:
        row_N = torch.nonzero(is_in_N).flatten()
        digest.update(json.dumps(len(row_N)).encode())
        digest.update(row_N.numpy().data)
        splits.append(Split(images, labels_N[row_N], row_N))
    return Dataset(name, facts.classes, facts.mean, facts.std, digest.hexdigest(), *splits)


def _cut(
    name: str, labels_N: Tensor, is_test_N: Tensor, classes: tuple[str, ...], validation_fraction: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Which images are for training, validation and test: bool [N] each. Where none is for test, some become so."""
    _check(name, labels_N, classes)
    if not is_test_N.any():
        is_test_N = drawn(labels_N, torch.ones_like(is_test_N), TEST_FRACTION, "test")
    is_validation_N = drawn(labels_N, ~is_test_N, validation_fraction, "validation")
    return ~is_test_N & ~is_validation_N, is_validation_N, is_test_N


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


def _check(name: str, labels_N: Tensor, classes: tuple[str, ...]) -> None:
    counts = torch.bincount(labels_N, minlength=len(classes)).tolist()
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
