"""What the pixels of a data set are like, all in all."""

import math

import numpy as np
from numpy.typing import NDArray

# Shapes: B = a chunk's images, H, W = height and width, C = channels.


class Statistics:
    """Mean and std of each channel, over sums in whole numbers: the size of the chunks does not matter."""

    def __init__(self) -> None:
        self._pixels = 0
        self._sums_C, self._squares_C = np.zeros((2, 1), np.uint64)
        self.lowest, self.highest = 255, 0

    def add(self, images_BHWC: NDArray[np.uint8]) -> None:
        if not len(images_BHWC):
            return
        self._pixels += math.prod(images_BHWC.shape[:3])
        self.lowest = min(self.lowest, int(images_BHWC.min()))
        self.highest = max(self.highest, int(images_BHWC.max()))
        # Over the images first: numpy is ten times faster along such long rows than along three channels.
        self._sums_C = self._sums_C + images_BHWC.sum(axis=0, dtype=np.uint64).sum(axis=(0, 1))
        squares_BHWC = np.square(images_BHWC, dtype=np.uint16)
        self._squares_C = self._squares_C + squares_BHWC.sum(axis=0, dtype=np.uint64).sum(axis=(0, 1))

    @property
    def mean(self) -> tuple[float, ...]:
        """In 0..1, as is the std."""
        return tuple(int(total) / self._pixels / 255 for total in self._sums_C)

    @property
    def std(self) -> tuple[float, ...]:
        """1 for a channel that is the same everywhere, so that one can divide by it."""
        pairs = [(int(total), int(squares)) for total, squares in zip(self._sums_C, self._squares_C, strict=True)]
        numerators = (self._pixels * squares - total**2 for total, squares in pairs)
        return tuple(math.sqrt(numerator) / self._pixels / 255 or 1.0 for numerator in numerators)
