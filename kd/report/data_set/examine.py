"""The data doctor: a packed data set is looked through once, and what is wrong with it written beside its files.

It is no part of the data set's identity: one without it can be learnt from as well. Memory stays at some 100 MB, and
1.5 kB for each image of those that are compared with one another.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd import disk, liveness, outputs
from kd.data import origin, packed_facts, packed_images
from kd.data.packed_images import Packed
from kd.report.data_set import near_duplicates
from kd.report.data_set.examination import ClassCounts, Compared, Examination
from kd.report.data_set.findings import Looked, findings
from kd.report.data_set.gallery import Gallery
from kd.report.shown import data_set
from kd.version import VERSION

# How much is read at a time.
BLOCK_BYTES = 1 << 23
# Of all the time: to read all images, before they are compared.
SHARE_OF_READING = 0.5

Progress = Callable[[int, float], None]

# Shapes: N = images, B = some of them, H, W = height and width, C = channels or classes, D = cells, S = splits.


def examine(folder: Path, name: str, *, progress: Progress = lambda images, fraction: None) -> Examination:
    """Look through the data set `packed/<name>` in a data folder, and write `report.json` and `report.html` there.

    `progress` hears how many images have been read, and which fraction of all is done. Raises `DataError` when the data
    set is not there or damaged, `OSError` when nothing can be written.
    """
    packed, place = packed_images.read(folder, name), folder / name
    is_blank_N, thumbnails_ND = _read(packed, progress)

    def compared(fraction: float) -> None:
        liveness.advance()
        progress(packed.facts.count, SHARE_OF_READING + (1 - SHARE_OF_READING) * fraction)

    looked = Looked(
        packed=packed,
        origin=origin.read(place, packed.facts.count),
        counts_SC=_counts(packed),
        is_blank_N=is_blank_N,
        near=near_duplicates.find(thumbnails_ND, packed.labels, packed.split, packed.first, advance=compared),
    )
    found = _examination(name, looked, Gallery(packed, origin.names(place, packed.facts.count)))
    packed_facts.read(folder, name)  # meanwhile somebody may have deleted it, and nobody wants its folder back
    disk.write_json(found.model_dump(mode="json"), place, Path(outputs.REPORT))
    disk.write_text(data_set.page(found), place, Path(outputs.PAGE))
    return found


def _read(packed: Packed, progress: Progress) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which images are of one colour, [N]; and their thumbnails [N, D], [0, D] where they are not compared."""
    count = packed.facts.count
    is_blank_N = np.zeros(count, np.bool_)
    are_compared = near_duplicates.scope_of(count) != "none"
    thumbnails_ND = np.zeros((count if are_compared else 0, near_duplicates.CELLS), np.float32)
    step = max(1, BLOCK_BYTES // math.prod(packed.facts.shape))
    for first in range(0, count, step):
        images_BHWC = packed.images[first : first + step]
        is_blank_N[first : first + step] = (images_BHWC == images_BHWC[:, :1, :1]).all(axis=(1, 2, 3))
        if are_compared:
            thumbnails_ND[first : first + step] = near_duplicates.thumbnails(images_BHWC)
        liveness.advance()
        progress(first + len(images_BHWC), SHARE_OF_READING * (first + len(images_BHWC)) / count)
    return is_blank_N, thumbnails_ND


def _counts(packed: Packed) -> NDArray[np.int64]:
    """Images of each class in each split, [S, C]."""
    classes = len(packed.facts.classes)
    return np.bincount(packed.split.astype(np.int64) * classes + packed.labels, minlength=3 * classes).reshape(3, -1)


def _examination(name: str, looked: Looked, gallery: Gallery) -> Examination:
    facts = looked.packed.facts
    return Examination(
        version=VERSION,
        name=name,
        digest=facts.digest,
        source=None if looked.origin is None else looked.origin.source,
        shape=facts.shape,
        findings=findings(looked, gallery),
        classes=tuple(
            ClassCounts(name=label, train=train, validation=validation, test=test)
            for label, (train, validation, test) in zip(facts.classes, looked.counts_SC.T.tolist(), strict=True)
        ),
        compared=Compared(
            scope=near_duplicates.scope_of(facts.count),
            similar=near_duplicates.SIMILAR,
            similar_in_detail=near_duplicates.SIMILAR_IN_DETAIL,
        ),
        samples=gallery.samples(),
    )
