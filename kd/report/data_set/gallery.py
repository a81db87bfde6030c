"""The images of a data set as an examination shows them: small, with their numbers, labels, splits and files."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd.data import parts
from kd.data.duplicates import Pairs
from kd.data.packed_images import Packed
from kd.report.data_set.examination import Example, Picture, Sample
from kd.report.thumbnails import data_uri

SHOWN = 24
CLASSES, OF_A_CLASS = 16, 6

# Shapes: N = images, K = those that are shown.


class Gallery:
    def __init__(self, packed: Packed, files: Sequence[str] | None):
        self._packed, self._files = packed, files

    def singles(self, images: Sequence[int]) -> tuple[Example, ...]:
        """The first of these images."""
        return tuple(Example(pictures=(self._picture(image),)) for image in images[:SHOWN])

    def pairs(self, pairs: Pairs, similarity_K: NDArray[np.float32] | None = None) -> tuple[Example, ...]:
        """The first of these pairs, or those that are most alike."""
        order = range(len(pairs.images)) if similarity_K is None else np.argsort(-similarity_K, kind="stable")
        return tuple(
            Example(
                pictures=(self._picture(int(pairs.like[place])), self._picture(int(pairs.images[place]))),
                similarity=None if similarity_K is None else round(float(similarity_K[place]), 4),
            )
            for place in order[:SHOWN]
        )

    def samples(self) -> tuple[Sample, ...]:
        """A few images of a few classes, from all over the data set."""
        classes = self._packed.facts.classes
        return tuple(
            Sample(label=classes[number], pictures=tuple(self._picture(image) for image in self._some_of(number)))
            for number in _spread(len(classes), CLASSES)
        )

    def _some_of(self, label: int) -> list[int]:
        images = np.flatnonzero(self._packed.labels == label)
        return [int(images[place]) for place in _spread(len(images), OF_A_CLASS)]

    def _picture(self, image: int) -> Picture:
        packed = self._packed
        return Picture(
            number=image,
            label=packed.facts.classes[int(packed.labels[image])],
            split=parts.NAMES[int(packed.split[image])],
            file=None if self._files is None else self._files[image],
            png=data_uri(np.asarray(packed.images[image])),
        )


def _spread(count: int, wanted: int) -> list[int]:
    """At most so many numbers below `count`, evenly."""
    return [place * count // min(count, wanted) for place in range(min(count, wanted))]
