"""Which images are for training, validation and test: never a matter of a run's seed."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd.data import parts
from kd.errors import DataError
from kd.randomness import splitmix64

# Shapes: N = images, C = channels, H, W = height and width.


@dataclass(frozen=True)
class Split:
    """Images of a source and their labels. A part of a packed data set names its rows and copies no image."""

    source: Tensor  # uint8 [M, C, H, W]; mapped, where it may be larger than memory
    labels: Tensor  # int64 [N]
    numbers: Tensor  # int64 [N], which of the data set's images these are, in the order it came in
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

    def pixels(self, image: int) -> NDArray[np.uint8]:
        """One of them, as those who draw it have it: uint8 [H, W, C]."""
        pixels_CHW = self.source[image if self.rows is None else int(self.rows[image])]
        pixels: NDArray[np.uint8] = pixels_CHW.permute(1, 2, 0).numpy()
        return pixels


def cut_splits(
    name: str,
    labels_N: Tensor,
    split_N: Tensor,
    classes: tuple[str, ...],
    validation_fraction: float,
    first_N: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Which images are for training, validation and test: bool [N] each.

    `split_N` says it as far as it is given, with the numbers of `kd.data.parts`: where no image is for validation, or
    none for the test, some of those to learn from become so. `first_N` (int64) says of each image which is the first
    one with its pixels: these stay together.
    """
    is_validation_N, is_test_N = split_N == parts.VALIDATION, split_N == parts.TEST
    _check(name, labels_N, is_validation_N, is_test_N, classes)
    if not is_test_N.any():
        is_test_N = draw_share(labels_N, ~is_validation_N, parts.TEST_FRACTION, "test", first_N)
    if not is_validation_N.any():
        is_validation_N = draw_share(labels_N, ~is_test_N, validation_fraction, "validation", first_N)
    return ~is_test_N & ~is_validation_N, is_validation_N, is_test_N


def draw_share(
    labels_N: Tensor, among_N: Tensor, fraction: float, purpose: str, first_N: Tensor | None = None
) -> Tensor:
    """Which images to take as a share of each class among those allowed: bool [N], always the same ones.

    A smaller fraction takes a part of what a larger one takes. Images with the same pixels are drawn as one.
    """
    salt = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big", signed=True)
    lot_N = splitmix64(splitmix64(torch.arange(len(labels_N))) ^ salt)
    # All classes at once, each in a row in the order of its lots: with thousands of them a look at all images for each
    # would take minutes.
    allowed_K = candidate_K = torch.nonzero(among_N).flatten()
    if first_N is not None:
        # Of each group of the same pixels the first that is allowed stands for all.
        group_G, place_K = first_N[allowed_K].unique(return_inverse=True)  # type: ignore[no-untyped-call]
        candidate_K = torch.full_like(group_G, len(labels_N)).scatter_reduce(0, place_K, allowed_K, "amin")
        standing_K = candidate_K[place_K]
    candidate_K = candidate_K[lot_N[candidate_K].argsort()]
    candidate_K = candidate_K[labels_N[candidate_K].argsort(stable=True)]
    label_K = labels_N[candidate_K]
    images_C = torch.bincount(label_K)
    rank_K = torch.arange(len(label_K)) - (images_C.cumsum(0) - images_C)[label_K]
    wanted_C = torch.tensor([max(1, round(fraction * images)) for images in images_C.tolist()])
    taken_N = torch.zeros(len(labels_N), dtype=torch.bool)
    taken_N[candidate_K[rank_K < wanted_C[label_K]]] = True
    if first_N is not None:
        taken_N[allowed_K] = taken_N[standing_K]
    return taken_N


def _check(name: str, labels_N: Tensor, is_validation_N: Tensor, is_test_N: Tensor, classes: tuple[str, ...]) -> None:
    if (highest := int(labels_N.max())) >= len(classes):
        raise DataError(name, f"it has a label {highest}, but only {len(classes)} classes.")
    counts = [
        torch.bincount(labels_N[is_in_N], minlength=len(classes)).tolist()
        for is_in_N in (~is_validation_N & ~is_test_N, is_validation_N, is_test_N)
    ]
    if why := parts.shortage(classes, *counts):
        raise DataError(name, f"{why}.")
