"""Sixty small labelled images, a third of them for testing, as they are given to be packed."""

from collections.abc import Iterator

import numpy as np

from kd.data.packing import Chunk
from kd.data.parts import TEST, TRAIN

NAME = "packed/mine"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 6, 5, 3), np.uint8)
LABELS = np.arange(60) % 4
IS_TEST = np.arange(60) % 3 == 0
SPLIT = np.where(IS_TEST, TEST, TRAIN).astype(np.uint8)


def in_chunks(size: int = 7) -> Iterator[Chunk]:
    for first in range(0, 60, size):
        part = slice(first, first + size)
        yield Chunk(IMAGES[part], LABELS[part], SPLIT[part])
