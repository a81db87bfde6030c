"""Data sets by name: uint8 images, labels, and three splits."""

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kd import nearest
from kd.data import packed_facts, packed_images, parts, published
from kd.data.catalog import DATASETS
from kd.data.splits import Split, cut_splits
from kd.errors import DataError
from kd.randomness import derive, permutation


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
    source_digest: str | None = None  # of a packed one: what `facts.json` says, however it is split
    own_validation: bool = False  # who made it said which images are for validation

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.train.shape


def load_dataset(name: str, folder: Path, validation_fraction: float) -> Dataset:
    """The data set `name`, read from `folder` or from a package, else downloaded to `folder`.

    Of a packed one only the labels are read. Raises `DataError` when there is none, or when it is damaged.
    """
    if packed_facts.is_packed(name):
        return _load_packed(name, folder, validation_fraction)
    facts = DATASETS.get(name)
    if facts is None:
        raise DataError(name, nearest.unknown("data set", name, DATASETS) + ".")
    source = published.read(name, folder)
    images, labels_N = torch.from_numpy(source.images), torch.from_numpy(source.labels)
    split_N = torch.where(torch.arange(len(labels_N)) < source.first_test, parts.TRAIN, parts.TEST)
    cut = cut_splits(name, labels_N, split_N, source.classes, validation_fraction)
    train, validation, test = (
        Split(images[is_in_N], labels_N[is_in_N], torch.nonzero(is_in_N).flatten()) for is_in_N in cut
    )
    digest = _digest((source.classes, facts.mean, facts.std), (train, validation, test))
    return Dataset(name, source.classes, facts.mean, facts.std, digest, train, validation, test)


def sample(dataset: Dataset, images: int) -> Dataset:
    """The same with at most so many images in each split, drawn at random, the same ones each time."""

    def some(name: parts.Name, split: Split) -> Split:
        if len(split) <= images:
            return split
        drawn_K = permutation(len(split), derive(0, "sample", name))[:images].sort().values
        rows_K = drawn_K if split.rows is None else split.rows[drawn_K]
        return Split(split.source, split.labels[drawn_K], split.numbers[drawn_K], rows_K)

    return replace(
        dataset,
        train=some("train", dataset.train),
        validation=some("validation", dataset.validation),
        test=some("test", dataset.test),
    )


def _load_packed(name: str, folder: Path, validation_fraction: float) -> Dataset:
    source = packed_images.read(folder, name)
    facts = source.facts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the map cannot be written to: nobody does
        images = torch.from_numpy(source.images).permute(0, 3, 1, 2)
    labels_N, split_N = torch.from_numpy(source.labels), torch.from_numpy(source.split)
    first_N = None if source.first is None else torch.from_numpy(source.first)
    cut = cut_splits(name, labels_N, split_N, facts.classes, validation_fraction, first_N)
    digest = hashlib.sha256(facts.digest.encode())
    splits = []
    for is_in_N in cut:
        row_N = torch.nonzero(is_in_N).flatten()
        digest.update(json.dumps(len(row_N)).encode())
        digest.update(row_N.numpy().data)
        splits.append(Split(images, labels_N[row_N], numbers=row_N, rows=row_N))
    train, validation, test = splits
    return Dataset(
        name,
        facts.classes,
        facts.mean,
        facts.std,
        digest.hexdigest(),
        train,
        validation,
        test,
        source_digest=facts.digest,
        own_validation=facts.validation > 0,
    )


def _digest(facts: object, splits: tuple[Split, ...]) -> str:
    digest = hashlib.sha256(json.dumps(facts).encode())
    for split in splits:
        digest.update(json.dumps(split.images.shape).encode())
        digest.update(split.images.numpy().data)
        digest.update(split.labels.numpy().data)
    return digest.hexdigest()
