"""Images with the same pixels: what is learnt by heart in one split must not count as understood in another."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kd.data.parts import TEST, TRAIN, VALIDATION

# Of an image's pixels. That two among a million different images share one has a chance of 3 in 10^8.
FINGERPRINT_BYTES = 8
SHOWN = 3
NAMES = {TRAIN: "to learn from", VALIDATION: "for validation", TEST: "for the test"}

# Shapes: N = images, B = a chunk's, H, W = height and width, C = channels.


class Fingerprints:
    """Those of images as they come; 8 bytes of memory for each."""

    def __init__(self) -> None:
        self._content = bytearray()

    def add(self, images_BHWC: NDArray[np.uint8]) -> None:
        for image_HWC in images_BHWC:
            self._content += hashlib.blake2b(image_HWC.data, digest_size=FINGERPRINT_BYTES).digest()

    def first(self) -> NDArray[np.int64] | None:
        """For each image the first one with its pixels, [N]; None where each is the only one."""
        known, first, place_N = np.unique(
            np.frombuffer(self._content, np.uint64), return_index=True, return_inverse=True
        )
        return first[place_N.reshape(-1)].astype(np.int64) if len(known) < len(place_N) else None


def remarks(
    first_N: NDArray[np.int64],
    labels_N: NDArray[np.int64],
    split_N: NDArray[np.uint8],
    name_of: Callable[[int], str],
) -> Iterator[str]:
    """What whoever brought the images should know of those that are there more than once."""
    number_N = np.arange(len(first_N))
    again = np.flatnonzero(first_N != number_N)
    # Of each group the first image in each split, backwards so that it is the one that stays.
    held = np.full((len(NAMES), len(first_N)), -1)
    held[split_N[::-1], first_N[::-1]] = number_N[::-1]
    for one, other in ((TRAIN, TEST), (TRAIN, VALIDATION), (VALIDATION, TEST)):
        if len(shared := np.flatnonzero((held[one] >= 0) & (held[other] >= 0))):
            pairs = _pairs(held[other, shared], held[one, shared], name_of)
            yield (
                f"{_are(len(shared))} both {NAMES[one]} and {NAMES[other]}: {pairs}. What is learnt by heart counts as "
                "understood there."
            )
    if len(contrary := again[labels_N[again] != labels_N[first_N[again]]]):
        pairs = _pairs(contrary, first_N[contrary], name_of)
        yield f"{_are(len(contrary))} there with another label as well: {pairs}. One of the labels is wrong."
    yield (
        f"{_are(len(again))} the same, pixel for pixel, as an earlier one; where a split is made, they stay on one "
        "side of it."
    )


def _are(count: int) -> str:
    return "1 image is" if count == 1 else f"{count:,} images are"


def _pairs(images: NDArray[np.int64], same: NDArray[np.int64], name_of: Callable[[int], str]) -> str:
    shown = (f"{name_of(int(one))} = {name_of(int(other))}" for one, other in zip(images[:SHOWN], same, strict=False))
    return ", ".join(shown) + (", …" if len(images) > SHOWN else "")
