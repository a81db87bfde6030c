"""Packed data sets: images in one file that is mapped, never loaded, so they may be larger than memory.

A folder `packed/<name>` in the data folder holds `images.npy` (uint8 [N, H, W, C]), `labels.npy` (int64 [N]),
`split.npy` (uint8 [N], the numbers of `kd.data.parts`) and `facts.json`; where images are there more than once also
`duplicates.npy` (int64 [N], for each image the first one with its pixels), and where they were files what
`kd.data.origin` writes.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd.data import drafts, duplicates, numbering, packed_facts
from kd.data.drafts import Draft
from kd.data.duplicates import Fingerprints
from kd.data.origin import Files
from kd.data.packed_facts import PackedFacts, Resized
from kd.data.packed_images import labels_sha256
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.data.statistics import Statistics
from kd.disk import sync, sync_folder
from kd.errors import KdError

# They are kept as int64.
HIGHEST_LABEL = int(np.iinfo(np.int64).max)

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std of each channel, of pixels in 0..1."""

# Shapes: N = images, B = a chunk's, H, W = height and width, C = channels.


class CannotPack(KdError):
    """Images and labels that make no data set."""

    def __init__(self, name: str, why: str):
        super().__init__(f"The data set {name} cannot be packed: {why}.")
        self.name = name


class Chunk(NamedTuple):
    """Some images of a data set on their way into it."""

    images: NDArray[np.uint8]  # [B, H, W, C]
    labels: NDArray[np.integer[Any]]  # [B]
    split: NDArray[np.uint8] | int = TRAIN


def pack(
    folder: Path,
    name: str,
    chunks: Iterable[Chunk],
    classes: Sequence[str] | None = None,
    *,
    normalisation: Normalisation | None = None,
    tell: Callable[[str], None] = lambda remark: None,
    files: Files | None = None,
    resized: Resized | None = None,
    may_be_there: bool = False,
    draft: Draft | None = None,
) -> PackedFacts:
    """Write the data set `packed/<name>` into a data folder: whole, or not at all.

    Holds one chunk in memory, and some tens of bytes an image. Without `classes` these are the labels' own numbers,
    without a `normalisation` mean and std are those of the training images. Labels that do not count from 0 without a
    gap are made to; `tell` hears of it, and of what else looks strange, where an image is called as its file
    is. `files`: those that the chunks come from, complete when these are. `resized`: how the images came to their size.
    Raises `CannotPack` when the chunks make no data set, or when there is one of that name; with `may_be_there` only if
    that is another one: who was ended a moment too late begins anew. `draft`: where it is written, if not in one of its
    own; the chunks then begin with what is kept there.
    """
    check_name(folder, name, may_be_there=may_be_there)
    place = folder / name
    with nullcontext(draft) if draft is not None else drafts.begin(place) as draft:
        facts = _write(draft, name, chunks, classes, normalisation, tell, files, resized)
        if may_be_there and place.exists() and packed_facts.read(folder, name).digest == facts.digest:
            return facts
        _refuse_to_replace(place, name)
        draft.become(place)
    sync_folder(place.parent)
    return facts


def check_name(folder: Path, name: str, *, may_be_there: bool = False) -> None:
    """Raise `CannotPack` where it is no name of a packed data set, or that of one that is there."""
    if not packed_facts.is_packed(name):
        raise CannotPack(name, f"its name must be {packed_facts.NAMES_ARE}")
    if not may_be_there:
        _refuse_to_replace(folder / name, name)


def _refuse_to_replace(place: Path, name: str) -> None:
    if place.exists():
        raise CannotPack(name, f"{place} exists already; remove that folder, or choose another name")


def _write(
    draft: Draft,
    name: str,
    chunks: Iterable[Chunk],
    classes: Sequence[str] | None,
    normalisation: Normalisation | None,
    tell: Callable[[str], None],
    files: Files | None,
    resized: Resized | None,
) -> PackedFacts:
    labels: list[NDArray[np.int64]] = []
    split: list[NDArray[np.uint8]] = []
    shape: tuple[int, ...] | None = None
    count, digest, statistics, fingerprints = 0, hashlib.sha256(), Statistics(), Fingerprints()
    with draft.open_images() as file:
        for chunk in chunks:
            if shape is None:
                shape = chunk.images.shape[1:]
                drafts.write_header(file, 0, shape)
            _check_chunk(name, chunk, shape, first=count)
            images = np.ascontiguousarray(chunk.images)
            file.write(images.data)
            if files is not None:
                draft.wrote(file, images, files.names[count : count + len(images)])
            count += len(images)
            digest.update(images.data)
            fingerprints.add(images)
            split_B = np.broadcast_to(np.asarray(chunk.split, np.uint8), len(images))
            statistics.add(images if (split_B == TRAIN).all() else images[split_B == TRAIN])
            labels.append(chunk.labels.astype(np.int64))
            split.append(split_B)
        if shape is None or count == 0:
            raise CannotPack(name, "there are no images")
        labels_N, split_N = np.concatenate(labels), np.concatenate(split)
        # Only now is their number known; numpy leaves room for it in the header.
        end = file.tell()
        file.truncate()
        file.seek(0)
        drafts.write_header(file, count, shape)
        assert end == file.tell() + count * math.prod(shape)
        sync(file)
    try:
        labels_N, known, remark = numbering.number(labels_N, classes)
    except ValueError as error:
        raise CannotPack(name, str(error)) from error
    if remark:
        tell(remark)
    _look_at(name, statistics, tell)
    first_N = fingerprints.first()
    if why := numbering.shortage(known, labels_N, split_N, first_N):
        raise CannotPack(name, why)
    if first_N is not None:
        name_of = "image {}".format if files is None else files.name_of
        for remark in duplicates.remarks(first_N, labels_N, split_N, name_of):
            tell(remark)
    for file_name, array in (("labels.npy", labels_N), ("split.npy", split_N), ("duplicates.npy", first_N)):
        if array is None:
            continue
        with open(draft.folder / file_name, "wb") as file:
            np.save(file, array)
            sync(file)
    if files is not None:
        files.write(draft.folder)

    height, width, channels = shape
    mean, std = normalisation or (statistics.mean, statistics.std)
    facts = PackedFacts(
        classes=known,
        shape=(channels, height, width),
        train=int((split_N == TRAIN).sum()),
        validation=int((split_N == VALIDATION).sum()),
        test=int((split_N == TEST).sum()),
        mean=mean,
        std=std,
        images_sha256=digest.hexdigest(),
        labels_sha256=labels_sha256(labels_N, split_N, first_N),
        duplicates=None if first_N is None else int((first_N != np.arange(count)).sum()),
        resized=resized,
    )
    facts = facts.model_copy(update={"facts_sha256": facts.digest})
    with open(draft.folder / packed_facts.FILE, "wb") as file:
        file.write(json.dumps(facts.model_dump(exclude_none=True), indent=2).encode())
        sync(file)
    sync_folder(draft.folder)
    return facts


def _look_at(name: str, statistics: Statistics, tell: Callable[[str], None]) -> None:
    """Refuse images that show nothing; tell of those that look as if they had been spoilt on their way."""
    if statistics.lowest == statistics.highest:
        raise CannotPack(name, f"every pixel to learn from is {statistics.lowest}: the images show nothing")
    if statistics.highest == 1:
        tell(
            "Every pixel is 0 or 1. If the images were numbers from 0 to 1 that became uint8, what they showed is "
            "lost: multiply by 255 first."
        )


def _check_chunk(name: str, chunk: Chunk, shape: tuple[int, ...], first: int) -> None:
    images, labels = chunk.images, chunk.labels
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        given = f"{images.dtype} of shape {images.shape}"
        raise CannotPack(name, f"images must be uint8 of shape N×H×W×C, these are {given}")
    height, width, channels = shape
    # Hardly any image is so flat and has so many channels; one of 5×5 pixels and 200 bands passes.
    if channels > 4 and ((height <= 4 < width) or (height < width == channels) or 2 * height <= min(width, channels)):
        raise CannotPack(
            name,
            f"images of shape N×{height}×{width}×{channels} look like N×C×H×W, with the channels first; they must be "
            "last: np.moveaxis(images, 1, -1)",
        )
    if images.shape[1:] != shape:
        raise CannotPack(name, f"image {first} is of shape {images.shape[1:]}, those before it are of {shape}")
    if not set(np.unique(chunk.split).tolist()) <= {TRAIN, VALIDATION, TEST}:
        raise CannotPack(name, "the split of an image must be 0 (to learn from), 1 (validation) or 2 (test)")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        given = f"{labels.dtype} of shape {labels.shape}"
        raise CannotPack(name, f"labels must be an integer for each of {len(images)} images, these are {given}")
    if len(labels) and (highest := int(labels.max())) > HIGHEST_LABEL:
        raise CannotPack(name, f"there is a label {highest}; they may go up to {HIGHEST_LABEL}")
