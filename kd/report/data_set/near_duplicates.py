"""Images that are nearly the same: in another compression or size, a little brighter, with a hair's breadth cut off.

Two images are near duplicates when their thumbnails, gray and of 16×16 cells, correlate by `SIMILAR`, and by
`SIMILAR_IN_DETAIL` in what is finer than 4×4 cells: else all horizons would be alike. Every pair that is said to be
compared is: the filter before it lets through too many, and never too few.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd.data.parts import APART, TEST, TRAIN, VALIDATION
from kd.report.data_set.examination import Scope

SIMILAR, SIMILAR_IN_DETAIL = 0.98, 0.95
SIDE, COARSE, OUTLINE = 16, 8, 4
CELLS = SIDE * SIDE
# Of red, green and blue, as gray copies have them (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
# Gray levels, the least standard deviation of a thumbnail: where there is less, there is nothing to correlate.
LEAST_CONTRAST = 2.0
# Of more images only those in different splits are compared, and of yet more none: a minute or two of a core each.
MOST_IMAGES, MOST_ACROSS = 100_000, 300_000
ROWS, COLUMNS = 1024, 4096  # images that are compared at once: 16 MB of correlations
# What float32 may be wrong by, so that the filter never is.
SLACK = 1e-4

Float = NDArray[np.float32]

# Shapes: N = images, B = some of them, R, K = rows and columns of a block, H, W = height and width, C = channels,
# D = cells of a thumbnail, S = splits.


def thumbnails(images_BHWC: NDArray[np.uint8]) -> Float:
    """Gray ones, float32 [B, CELLS] in 0..255: each cell is the mean of what it covers, of parts of pixels as well."""
    _, height, width, channels = images_BHWC.shape
    weights = LUMA if channels in (3, 4) else (1 / channels,) * channels
    gray_BHW = np.zeros(images_BHWC.shape[:3], np.float32)
    for channel, weight in enumerate(weights):
        gray_BHW += np.multiply(images_BHWC[..., channel], weight, dtype=np.float32)
    small: Float = np.matmul(_cover(height) @ gray_BHW, _cover(width).T, dtype=np.float32)
    return small.reshape(len(images_BHWC), CELLS)


def _cover(length: int) -> Float:
    """How much of each pixel is in each cell: [SIDE, length], rows that add up to 1."""
    edges = np.linspace(0, length, SIDE + 1)
    pixel = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (overlap.clip(0) * SIDE / length).astype(np.float32)


class Near(NamedTuple):
    """For each image the one that is most like it, or -1; and how like it is."""

    in_split_SN: NDArray[np.int64]
    """In each split; in the image's own one among those before it."""
    similarity_SN: Float
    contrary_N: NDArray[np.int64]
    """With another label, among those before it in all splits."""
    contrary_similarity_N: Float


def scope_of(images: int) -> Scope:
    """Which pairs of so many images are compared."""
    return "all" if images <= MOST_IMAGES else "across_splits" if images <= MOST_ACROSS else "none"


def find(
    thumbnails_ND: Float,
    labels_N: NDArray[np.int64],
    split_N: NDArray[np.uint8],
    first_N: NDArray[np.int64] | None = None,
    *,
    advance: Callable[[float], None] = lambda fraction: None,
) -> Near:
    """Compare the images that `scope_of` their number says. `first_N` tells of each the first one with its pixels: what
    is the same is not nearly so. `advance` hears which fraction is done.

    The thumbnails become unit vectors in place; beside them it takes about 400 bytes an image, and 100 MB.
    """
    count = len(labels_N)
    first_N = np.arange(count) if first_N is None else first_N
    near = Near(
        np.full((3, count), -1), np.zeros((3, count), np.float32), np.full(count, -1), np.zeros(count, np.float32)
    )
    if not len(thumbnails_ND):
        return near
    is_seen_N = _normalise(thumbnails_ND)
    filter_ND = _filter(thumbnails_ND)
    blocks = list(_blocks(split_N, is_seen_N))
    total, done = sum(len(rows) * len(columns) for rows, columns in blocks), 0
    for rows, columns in blocks:
        done += len(rows) * len(columns)
        if (found := _similar(thumbnails_ND, filter_ND, rows, columns)) is not None:
            some, others, similar_RK = found
            similar_RK[first_N[some][:, None] == first_N[others]] = 0
            _note(near, labels_N, split_N, some, others, similar_RK)
        advance(done / total)
    return near


def _normalise(thumbnails_ND: Float) -> NDArray[np.bool_]:
    """Mean 0 and length 1, in place; and which of them show enough to be compared, [N]."""
    thumbnails_ND -= thumbnails_ND.mean(axis=1, keepdims=True)
    length_N = np.sqrt(_squares(thumbnails_ND))
    thumbnails_ND /= np.maximum(length_N, 1e-6)[:, None]
    is_seen_N: NDArray[np.bool_] = length_N >= LEAST_CONTRAST * SIDE
    return is_seen_N


def _similar(
    unit_ND: Float, filter_ND: Float, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float] | None:
    """The rows and the columns that have near duplicates, and how similar each is to each: 0 where two are none."""
    passes = filter_ND[rows] @ _other_side(filter_ND[columns]).T >= SIMILAR - 1 - SLACK
    if not passes.any():
        return None
    # The whole product of those rows and columns: of however many pairs it is no larger than the block.
    rows, columns = rows[passes.any(axis=1)], columns[passes.any(axis=0)]
    similar_RK: Float = unit_ND[rows] @ unit_ND[columns].T
    is_near_RK = similar_RK >= SIMILAR
    if not is_near_RK.any():
        return None
    is_near_RK &= _details(unit_ND[rows]) @ _details(unit_ND[columns]).T >= SIMILAR_IN_DETAIL
    similar_RK *= is_near_RK
    return rows, columns, similar_RK


def _filter(unit_ND: Float) -> Float:
    """One side of a product that is minus half the squared distance of two thumbnails of 8×8 cells.

    A mean over cells is a projection: these are no further apart than those of 16×16 cells, which are 2 - 2 ×
    correlation, squared. Where the product is below `SIMILAR - 1`, so is the correlation below `SIMILAR`.
    """
    few_ND = _coarse(unit_ND, COARSE).reshape(len(unit_ND), -1) * (SIDE // COARSE)
    half_N1 = _squares(few_ND)[:, None] / 2
    return np.hstack([few_ND, half_N1, np.ones_like(half_N1)])


def _other_side(filter_ND: Float) -> Float:
    return np.hstack([filter_ND[:, :-2], -filter_ND[:, -1:], -filter_ND[:, -2:-1]])


def _details(unit_ND: Float) -> Float:
    """What is finer than the outline, as unit vectors."""
    fine_ND = unit_ND - np.kron(_coarse(unit_ND, OUTLINE), np.ones((SIDE // OUTLINE,) * 2, np.float32)).reshape(
        unit_ND.shape
    )
    unit: Float = fine_ND / np.maximum(np.linalg.norm(fine_ND, axis=1, keepdims=True), 1e-6)
    return unit


def _squares(each_ND: Float) -> Float:
    """The squared length of each. Without the copy that numpy's norm makes of all."""
    squares: Float = np.einsum("nd,nd->n", each_ND, each_ND)
    return squares


def _coarse(unit_ND: Float, side: int) -> Float:
    """Thumbnails of fewer cells: [N, side, side]."""
    mean: Float = unit_ND.reshape(-1, side, SIDE // side, side, SIDE // side).mean(axis=(2, 4))
    return mean


def _blocks(
    split_N: NDArray[np.uint8], is_seen_N: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Numbers of images to compare with numbers of images."""
    scope = scope_of(len(split_N))
    pairs = [*APART] if scope != "none" else []
    pairs += [(split, split) for split in (TRAIN, VALIDATION, TEST)] if scope == "all" else []
    for one, other in pairs:
        rows, columns = (np.flatnonzero((split_N == split) & is_seen_N) for split in (one, other))
        for first in range(0, len(rows), ROWS):
            # Within a split those before them have been compared with them.
            for start in range(first if one == other else 0, len(columns), COLUMNS):
                yield rows[first : first + ROWS], columns[start : start + COLUMNS]


def _note(
    near: Near,
    labels_N: NDArray[np.int64],
    split_N: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    similar_RK: Float,
) -> None:
    """Keep of each image the one that is most like it. All rows are of one split, and so are all columns."""
    own, others = split_N[rows[0]], split_N[columns[0]]
    is_before_RK = rows[:, None] < columns
    if own == others:
        similar_RK *= is_before_RK
    else:
        _keep_best(near.in_split_SN[others], near.similarity_SN[others], rows, columns, similar_RK)
    _keep_best(near.in_split_SN[own], near.similarity_SN[own], columns, rows, similar_RK.T)
    similar_RK *= labels_N[rows][:, None] != labels_N[columns]
    _keep_best(near.contrary_N, near.contrary_similarity_N, columns, rows, (similar_RK * is_before_RK).T)
    _keep_best(near.contrary_N, near.contrary_similarity_N, rows, columns, similar_RK * ~is_before_RK)


def _keep_best(
    found_N: NDArray[np.int64],
    best_N: Float,
    images: NDArray[np.int64],
    candidates: NDArray[np.int64],
    similar: Float,
) -> None:
    """`similar` has a row for each of the images, a column for each candidate."""
    place = similar.argmax(axis=1)
    similarity = np.take_along_axis(similar, place[:, None], axis=1)[:, 0]
    better = similarity > best_N[images]
    best_N[images[better]], found_N[images[better]] = similarity[better], candidates[place[better]]
