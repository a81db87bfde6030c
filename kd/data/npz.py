"""An `.npz` of labelled images, read a chunk at a time, so that it may be larger than memory.

It holds `images` (uint8 N×H×W or N×H×W×C) and `labels` (integers), and perhaps `classes` (a text for each class) and
`split` (0 where an image is to learn from, 1 where it is for validation, 2 where it is for the test).
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from kd.data.packing import Chunk
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import KdError

CHUNK_BYTES = 1 << 22

# Shapes: N = images, B = a chunk's, H, W = height and width, C = channels.


class BadNpz(KdError):
    """A file that is no `.npz` of labelled images."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path} holds no images to learn from: {why}.")
        self.path = path


@dataclass(frozen=True)
class Labelled:
    """All of the file but its images."""

    path: Path
    shape: tuple[int, int, int, int]  # N, H, W, C
    labels: NDArray[np.int64]  # [N]
    split: NDArray[np.uint8]  # [N]
    classes: tuple[str, ...] | None

    def chunks(self) -> Iterator[Chunk]:
        """The images in their order, a few megabytes at a time."""
        count, *size = self.shape
        bytes_of_one = int(np.prod(size))
        step = max(1, CHUNK_BYTES // bytes_of_one)
        with _explaining(self.path), zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as member:
            _header(member)
            for first in range(0, count, step):
                last = min(first + step, count)
                content = _exactly(member, (last - first) * bytes_of_one)
                images = np.frombuffer(content, np.uint8).reshape(-1, *size)
                yield Chunk(images, self.labels[first:last], self.split[first:last])
            if member.read(1):  # to its end, where the checksum is compared
                raise BadNpz(self.path, "`images` is longer than its header says")


def read(path: Path) -> Labelled:
    """The labels and the shape of the images; `BadNpz` says what is wrong with the file."""
    with _explaining(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        for name in ("images", "labels"):
            if name not in names:
                raise BadNpz(path, f"it has no array `{name}`; it has {', '.join(sorted(names)) or 'none'}")
        with archive.open("images.npy") as member:
            shape, kind, by_column = _header(member)
        for name in ("labels", "split", "classes"):
            if name in names:
                with archive.open(f"{name}.npy") as member:
                    _refuse_objects(path, name, _header(member)[1])
    if kind != np.uint8 or len(shape) not in (3, 4):
        raise BadNpz(path, f"`images` must be uint8 of shape N×H×W or N×H×W×C, it is {kind} of shape {shape}")
    if by_column:
        raise BadNpz(path, "`images` is in Fortran's order; save np.ascontiguousarray(images)")
    if 0 in shape:
        raise BadNpz(path, f"`images` is empty, of shape {shape}")
    count, height, width, channels = (*shape, 1)[:4]

    with _explaining(path), np.load(path) as arrays:
        labels_N = arrays["labels"]
        split_N = arrays["split"] if "split" in names else np.full(count, TRAIN)
        classes = arrays["classes"] if "classes" in names else None
    for name, array in (("labels", labels_N), ("split", split_N)):
        if array.shape != (count,) or array.dtype.kind not in "iu":
            given = f"{array.dtype} of shape {array.shape}"
            raise BadNpz(path, f"`{name}` must be an integer for each of {count} images, it is {given}")
    if strange := sorted(set(np.unique(split_N).tolist()) - {TRAIN, VALIDATION, TEST}):
        raise BadNpz(path, f"`split` must be 0 (to learn from), 1 (validation) or 2 (test), not {strange[0]}")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise BadNpz(path, f"`classes` must be a list of texts, it is {classes.dtype} of shape {classes.shape}")
    return Labelled(
        path=path,
        shape=(count, height, width, channels),
        labels=labels_N.astype(np.int64),
        split=split_N.astype(np.uint8),
        classes=tuple(classes.tolist()) if classes is not None else None,
    )


def _refuse_objects(path: Path, name: str, kind: Any) -> None:
    # numpy would unpickle them, which can run any code.
    if kind.hasobject:
        remedy = "np.array(classes, dtype=str)" if name == "classes" else f"np.array({name}, dtype=np.int64)"
        raise BadNpz(path, f"`{name}` is an array of Python objects; save {remedy} instead")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], Any, bool]:
    """Shape, type and whether the order is Fortran's; the member is at its first pixel then."""
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(member)]
    shape, by_column, kind = read(member)
    return shape, kind, by_column


def _exactly(member: IO[bytes], count: int) -> bytearray:
    content = bytearray()
    while len(content) < count:
        part = member.read(count - len(content))
        if not part:
            raise EOFError("`images` ends before its last image")
        content += part
    return content


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise BadNpz(path, f"it is damaged, or no .npz ({reason})") from error
