"""Labels that count from 0 without a gap, the names of their classes, and whether there are enough images of each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd.data import parts
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.printable import unprintable

# Shapes: N = images, K = different labels.


class Numbered(NamedTuple):
    labels_N: NDArray[np.int64]
    classes: tuple[str, ...]
    remark: str | None  # what was done to the labels


def number(labels_N: NDArray[np.int64], classes: Sequence[str] | None) -> Numbered:
    """The labels, numbered anew where they begin at 1 or have gaps. Without `classes` these are the labels themselves.

    Raises `ValueError` where labels and classes do not fit.
    """
    known_K, number_N = np.unique(labels_N, return_inverse=True)
    lowest, highest = int(known_K[0]), int(known_K[-1])
    if lowest < 0:
        raise ValueError(f"there is a label {lowest}; labels count from 0")
    if classes is None:
        remark = None
        if highest >= len(known_K):
            shown = ", ".join(map(str, known_K[:5])) + (", …" if len(known_K) > 5 else "")
            remark = f"The labels {shown} are numbered from 0 to {len(known_K) - 1}; their classes keep those names."
        return Numbered(number_N.reshape(-1), tuple(map(str, known_K)), remark)
    for place, given in enumerate(classes):
        if character := unprintable(given):
            raise ValueError(
                f"the name of class {place}, {given!r}, holds {character}, which is no character to be read"
            )
    if len(set(classes)) < len(classes):
        raise ValueError("two classes have the same name")
    if (lowest, highest) == (1, len(classes)):
        remark = f"The labels 1 to {highest} are numbered from 0 to {highest - 1}: label 1 is {classes[0]!r}."
        return Numbered(labels_N - 1, tuple(classes), remark)
    if highest >= len(classes):
        raise ValueError(f"there is a label {highest}, but only {len(classes)} classes")
    return Numbered(labels_N, tuple(classes), None)


def shortage(
    classes: tuple[str, ...],
    labels_N: NDArray[np.int64],
    split_N: NDArray[np.uint8],
    first_N: NDArray[np.int64] | None = None,
) -> str | None:
    """As `parts.shortage`. Images with the same pixels stay together, so that of each class there must be others."""
    counts = [
        np.bincount(labels_N[split_N == part], minlength=len(classes)).tolist() for part in (TRAIN, VALIDATION, TEST)
    ]
    why = parts.shortage(classes, *counts)
    if why is None and first_N is not None:
        learnt = np.flatnonzero(split_N == TRAIN)
        _, place = np.unique(first_N[learnt], return_index=True)
        counts[0] = np.bincount(labels_N[learnt[place]], minlength=len(classes)).tolist()
        if why := parts.shortage(classes, *counts):
            why += ", and images with the same pixels count once"
    return why
