"""What is wrong with a data set, or looks so: each finding in a sentence, with images to look at."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd.data import duplicates, parts
from kd.data.duplicates import Pairs
from kd.data.origin import Origin
from kd.data.packed_images import Packed
from kd.data.parts import APART, PURPOSES, TEST, TRAIN, VALIDATION
from kd.printable import printed
from kd.report.data_set.examination import Finding, Severity
from kd.report.data_set.gallery import SHOWN, Gallery
from kd.report.data_set.near_duplicates import Near

# How many times as large as the smallest class the largest is: from there on accuracy is mostly that of the large ones.
IMBALANCED = 10
NAMED = 3
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")

# Shapes: N = images, C = classes, S = splits.


class Looked(NamedTuple):
    """All that is known of a data set's images."""

    packed: Packed
    origin: Origin | None
    counts_SC: NDArray[np.int64]
    is_blank_N: NDArray[np.bool_]
    near: Near


def findings(looked: Looked, gallery: Gallery) -> tuple[Finding, ...]:
    """The worst first."""
    found = [
        *_duplicates(looked, gallery),
        *_near_duplicates(looked, gallery),
        *_missing_classes(looked),
        *_unreadable(looked),
        *_blank(looked, gallery),
        *_enlarged(looked, gallery),
        *_imbalance(looked),
    ]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _duplicates(looked: Looked, gallery: Gallery) -> Iterator[Finding]:
    packed = looked.packed
    if packed.first is None:
        return
    if count := len((pairs := duplicates.contrary(packed.first, packed.labels)).images):
        yield Finding(
            code="contrary_duplicates",
            severity="fault",
            count=count,
            message=f"{_images(count, 'is', 'are')} there with another label as well, pixel for pixel. One of the "
            "labels is wrong.",
            examples=gallery.pairs(pairs),
        )
    for one, other in APART:
        if count := len((pairs := duplicates.in_both(packed.first, packed.split, one, other)).images):
            yield Finding(
                code="shared_duplicates",
                severity="fault",
                count=count,
                message=f"{_images(count, 'is', 'are')} both {PURPOSES[one]} and {PURPOSES[other]}, pixel for pixel. "
                "What is learnt by heart counts as understood there.",
                examples=gallery.pairs(pairs),
            )
    if count := len((pairs := duplicates.again(packed.first)).images):
        yield Finding(
            code="duplicates",
            severity="note",
            count=count,
            message=f"{_images(count, 'is', 'are')} the same, pixel for pixel, as an earlier one. Where a split is "
            "made, they stay on one side of it.",
            examples=gallery.pairs(pairs),
        )


def _near_duplicates(looked: Looked, gallery: Gallery) -> Iterator[Finding]:
    near, split_N = looked.near, looked.packed.split
    if count := len(images := np.flatnonzero(near.contrary_N >= 0)):
        yield Finding(
            code="contrary_near_duplicates",
            severity="warning",
            count=count,
            message=f"{_images(count, 'looks', 'look')} nearly like one with another label. If both show the same, one "
            "of the labels is wrong.",
            examples=gallery.pairs(Pairs(images, near.contrary_N[images]), near.contrary_similarity_N[images]),
        )
    for one, other in APART:
        if count := len(images := np.flatnonzero((near.in_split_SN[one] >= 0) & (split_N == other))):
            yield Finding(
                code="shared_near_duplicates",
                severity="warning",
                count=count,
                message=f"{_images(count, 'that is', 'that are')} {PURPOSES[other]} {_s(count, 'looks', 'look')} "
                f"nearly like one {PURPOSES[one]}. If both show the same, what is learnt by heart counts as understood "
                "there.",
                examples=gallery.pairs(Pairs(images, near.in_split_SN[one, images]), near.similarity_SN[one, images]),
            )
    own = split_N, np.arange(len(split_N))
    if count := len(images := np.flatnonzero(near.in_split_SN[own] >= 0)):
        is_cut = not (split_N == TEST).any()
        yield Finding(
            code="near_duplicates",
            severity="warning" if is_cut else "note",
            count=count,
            message=f"{_images(count, 'looks', 'look')} nearly like an earlier one in the same split. "
            + (
                "The test split is cut from these, so that both sides may get one: bring a split that keeps them "
                "together."
                if is_cut
                else "They weigh more than others."
            ),
            examples=gallery.pairs(
                Pairs(images, near.in_split_SN[split_N[images], images]), near.similarity_SN[split_N[images], images]
            ),
        )


def _missing_classes(looked: Looked) -> Iterator[Finding]:
    for split, so in (
        (TEST, "How well they are recognised will not be known."),
        (VALIDATION, "The epoch that is kept is chosen without them."),
    ):
        counts_C = looked.counts_SC[split]
        if not counts_C.any() or counts_C.all():
            continue
        missing = np.flatnonzero(counts_C == 0)
        names = [printed(looked.packed.facts.classes[label]) for label in missing]
        shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        yield Finding(
            code=f"classes_without_{parts.NAMES[split]}",
            severity="warning",
            count=len(missing),
            message=f"{len(missing):,} of {len(counts_C):,} classes {_s(len(missing), 'has', 'have')} no image "
            f"{PURPOSES[split]}: {shown}. {so}",
            names=tuple(
                (name, f"{_images(int(looked.counts_SC[TRAIN, label]))} {PURPOSES[TRAIN]}")
                for name, label in zip(names[:SHOWN], missing, strict=False)
            ),
        )


def _unreadable(looked: Looked) -> Iterator[Finding]:
    if looked.origin is not None and (count := looked.origin.left_out):
        yield Finding(
            code="unreadable",
            severity="warning",
            count=count,
            message=f"{count:,} {_s(count, 'file was', 'files were')} left out, for nobody can read "
            f"{_s(count, 'it', 'them')} as {_s(count, 'an image', 'images')}.",
            names=tuple(looked.origin.left_out_files.items())[:SHOWN],
        )


def _blank(looked: Looked, gallery: Gallery) -> Iterator[Finding]:
    if count := len(images := np.flatnonzero(looked.is_blank_N)):
        yield Finding(
            code="blank",
            severity="warning",
            count=count,
            message=f"{_images(count, 'shows', 'show')} nothing: every pixel has the same colour.",
            examples=gallery.singles(images.tolist()),
        )


def _enlarged(looked: Looked, gallery: Gallery) -> Iterator[Finding]:
    if looked.origin is not None and (count := len(looked.origin.enlarged)):
        yield Finding(
            code="enlarged",
            severity="note",
            count=count,
            message=f"{_images(count, 'was', 'were')} smaller than the others are now, and enlarged: "
            f"{_s(count, 'it is', 'they are')} blurred.",
            examples=gallery.singles(looked.origin.enlarged),
        )


def _imbalance(looked: Looked) -> Iterator[Finding]:
    counts_C, classes = looked.counts_SC[TRAIN], looked.packed.facts.classes
    largest, smallest = int(counts_C.argmax()), int(counts_C.argmin())
    ratio = counts_C[largest] / counts_C[smallest]
    if ratio >= IMBALANCED:
        yield Finding(
            code="imbalance",
            severity="note",
            count=int((counts_C * IMBALANCED <= counts_C[largest]).sum()),
            message=f"{printed(classes[largest])} has {ratio:,.0f} times as many images {PURPOSES[TRAIN]} as "
            f"{printed(classes[smallest])}: {counts_C[largest]:,} and {counts_C[smallest]:,}. Accuracy says little of "
            "the small classes then; balanced accuracy does.",
        )


def _images(count: int, is_one: str = "", are_many: str = "") -> str:
    return f"1 image {is_one}".rstrip() if count == 1 else f"{count:,} images {are_many}".rstrip()


def _s(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
