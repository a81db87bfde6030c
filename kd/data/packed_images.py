"""A packed data set as it is read: its images are mapped, and everything about it is held against its facts."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd.data import npy, packed_facts
from kd.data.packed_facts import PackedFacts
from kd.errors import DataError

# How much `verify` reads at a time.
BLOCK_BYTES = 1 << 24

# Shapes: N = images, H, W = height and width, C = channels.


@dataclass(frozen=True)
class Packed:
    facts: PackedFacts
    images: NDArray[np.uint8]  # [N, H, W, C], mapped, read-only
    labels: NDArray[np.int64]  # [N]
    split: NDArray[np.uint8]  # [N]
    first: NDArray[np.int64] | None  # [N], the first image with the same pixels; None: each is the only one


def read(folder: Path, name: str) -> Packed:
    """The data set `packed/<name>` in a data folder, its images mapped. Everything but their pixels is checked."""
    facts = packed_facts.read(folder, name)
    channels, height, width = facts.shape
    images = _mapped(folder, name, "images.npy", (facts.count, height, width, channels), np.uint8)
    labels_N = np.array(_mapped(folder, name, "labels.npy", (facts.count,), np.int64))
    split_N = np.array(_mapped(folder, name, "split.npy", (facts.count,), np.uint8))
    first_N = None
    if facts.duplicates:
        first_N = np.array(_mapped(folder, name, "duplicates.npy", (facts.count,), np.int64))
    if labels_sha256(labels_N, split_N, first_N) != facts.labels_sha256:
        raise DataError(name, f"the labels in {folder / name} are not those that were packed. Pack it again.")
    if labels_N.min() < 0 or labels_N.max() >= len(facts.classes):
        given = f"its labels go from {labels_N.min()} to {labels_N.max()}"
        raise DataError(name, f"{given}, but there are {len(facts.classes)} classes. Pack it again.")
    if facts.facts_sha256 not in (facts.digest, None):
        raise DataError(name, f"the facts in {folder / name} are not those that were packed. Pack it again.")
    return Packed(facts, images, labels_N, split_N, first_N)


def verify(folder: Path, name: str) -> PackedFacts:
    """Read every pixel; `DataError` when they are not those that were packed."""
    packed = read(folder, name)
    digest = hashlib.sha256()
    step = max(1, BLOCK_BYTES // math.prod(packed.facts.shape))
    for first in range(0, packed.facts.count, step):
        digest.update(packed.images[first : first + step].data)
    if digest.hexdigest() != packed.facts.images_sha256:
        raise DataError(name, f"the images in {folder / name} are not those that were packed. Pack it again.")
    return packed.facts


def _mapped(folder: Path, name: str, file_name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    path = folder / name / file_name
    try:
        mapped = npy.open_map(path, "r")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(name, f"{path} is damaged ({reason}). Pack it again.") from error
    if not mapped.flags.c_contiguous:
        raise DataError(name, f"{path} is in Fortran's order. Pack it again.")
    if mapped.shape != shape or mapped.dtype != kind:
        given = f"{mapped.dtype} of shape {mapped.shape}"
        raise DataError(name, f"{path} holds {given}, where its facts promise {np.dtype(kind)} of shape {shape}.")
    return mapped


def labels_sha256(labels_N: NDArray[np.int64], split_N: NDArray[np.uint8], first_N: NDArray[np.int64] | None) -> str:
    """The digest of everything about a data set's images but their pixels."""
    digest = hashlib.sha256(np.ascontiguousarray(labels_N, "<i8").data)
    digest.update(split_N.data)
    if first_N is not None:  # else it is the digest that it was before they were looked for
        digest.update(np.ascontiguousarray(first_N, "<i8").data)
    return digest.hexdigest()
