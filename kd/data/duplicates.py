"""Images with the same pixels: what is learnt by heart in one split must not count as understood in another."""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd.data.parts import APART, PURPOSES

# Of an image's pixels. That two among a million different images share one has a chance of 3 in 10^8.
FINGERPRINT_BYTES = 8
SHOWN = 3

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


class Pairs(NamedTuple):
    """Images, and of each one that is like it."""

    images: NDArray[np.int64]
    like: NDArray[np.int64]


def again(first_N: NDArray[np.int64]) -> Pairs:
    """Each image that is there already, and the first one with its pixels."""
    images = np.flatnonzero(first_N != np.arange(len(first_N)))
    return Pairs(images, first_N[images])


def in_both(first_N: NDArray[np.int64], split_N: NDArray[np.uint8], one: int, other: int) -> Pairs:
    """Of what two splits share the first image in the other one, and the first in the one."""
    held = np.full((2, len(first_N)), -1)
    for place, split in enumerate((one, other)):
        number = np.flatnonzero(split_N == split)[::-1]  # backwards, so that the first one is what stays
        held[place, first_N[number]] = number
    shared = np.flatnonzero((held >= 0).all(axis=0))
    return Pairs(held[1, shared], held[0, shared])


def contrary(first_N: NDArray[np.int64], labels_N: NDArray[np.int64]) -> Pairs:
    """Each image whose label is another one than that of the first with its pixels."""
    images, like = again(first_N)
    differ = labels_N[images] != labels_N[like]
    return Pairs(images[differ], like[differ])


def remarks(
    first_N: NDArray[np.int64],
    labels_N: NDArray[np.int64],
    split_N: NDArray[np.uint8],
    name_of: Callable[[int], str],
) -> Iterator[str]:
    """What whoever brought the images should know of those that are there more than once."""
    for one, other in APART:
        if len((pairs := in_both(first_N, split_N, one, other)).images):
            yield (
                f"{_are(pairs)} both {PURPOSES[one]} and {PURPOSES[other]}: {_named(pairs, name_of)}. What is learnt "
                "by heart counts as understood there."
            )
    if len((pairs := contrary(first_N, labels_N)).images):
        yield f"{_are(pairs)} there with another label as well: {_named(pairs, name_of)}. One of the labels is wrong."
    yield (
        f"{_are(again(first_N))} the same, pixel for pixel, as an earlier one; where a split is made, they stay on one "
        "side of it."
    )


def _are(pairs: Pairs) -> str:
    return "1 image is" if len(pairs.images) == 1 else f"{len(pairs.images):,} images are"


def _named(pairs: Pairs, name_of: Callable[[int], str]) -> str:
    few = zip(pairs.images[:SHOWN], pairs.like, strict=False)
    shown = (f"{name_of(int(image))} = {name_of(int(like))}" for image, like in few)
    return ", ".join(shown) + (", …" if len(pairs.images) > SHOWN else "")
