"""An `.npz` of labelled images, read a chunk at a time, so that it may be larger than memory.

It holds `images` (uint8 N×H×W or N×H×W×C) and `labels` (integers), and perhaps `classes` (a text for each class) and
`split` (0 where an image is to learn from, 1 where it is for validation, 2 where it is for the test).
"""

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kd.data import npy
from kd.data.packing import Chunk
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import KdError

CHUNK_BYTES = 1 << 22
# What a byte in the archive can become: deflate says a run of 258 bytes in 2 bits.
MOST_FOR_A_BYTE = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1_032}

# Shapes: N = images, B = a chunk's, H, W = height and width, C = channels.
# What reading an archive raises that is damaged in one of many ways.
FAILURES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, RuntimeError, OSError)


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
    labels: NDArray[np.integer[Any]]  # [N]
    split: NDArray[np.uint8]  # [N]
    classes: tuple[str, ...] | None

    def chunks(self) -> Iterator[Chunk]:
        """The images in their order, a few megabytes at a time."""
        count, *size = self.shape
        bytes_of_one = math.prod(size)
        step = max(1, CHUNK_BYTES // bytes_of_one)
        with _explaining(self.path), zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as member:
            npy.read_header(member)
            for first in range(0, count, step):
                last = min(first + step, count)
                content = _exactly(member, (last - first) * bytes_of_one)
                images = np.frombuffer(content, np.uint8).reshape(-1, *size)
                yield Chunk(images, self.labels[first:last], self.split[first:last])
            member.read(1)  # to its end, where the checksum is compared


def read(path: Path) -> Labelled:
    """The labels and the shape of the images; `BadNpz` says what is wrong with the file."""
    with _explaining(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        for name in ("images", "labels"):
            if name not in names:
                raise BadNpz(path, f"it has no array `{name}`; it has {_some(sorted(names))}")
        with _member(archive, "images") as (member, size):
            images = npy.read_header(member)
            follow = size - member.tell()
        for name in ("labels", "split", "classes"):
            if name in names:
                with _member(archive, name) as (member, _):
                    _refuse_objects(path, name, npy.read_header(member).dtype)
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) not in (3, 4):
        raise BadNpz(path, f"`images` must be uint8 of shape N×H×W or N×H×W×C, it is {images.dtype} of shape {shape}")
    if images.by_column:
        raise BadNpz(path, "`images` is in Fortran's order; save np.ascontiguousarray(images)")
    if 0 in shape:
        raise BadNpz(path, f"`images` is empty, of shape {shape}")
    with _explaining(path):
        npy.check_size(images, follow)
    count, height, width, channels = (*shape, 1)[:4]

    arrays = read_arrays(path, *({"labels", "split", "classes"} & names))
    labels_N, classes = arrays["labels"], arrays.get("classes")
    split_N = arrays["split"] if "split" in arrays else np.full(count, TRAIN, np.uint8)
    for name, array in (("labels", labels_N), ("split", split_N)):
        if array.shape != (count,) or array.dtype.kind not in "iu":
            given = f"{array.dtype} of shape {array.shape}"
            raise BadNpz(path, f"`{name}` must be an integer for each of {count} images, it is {given}")
    if strange := sorted(set(np.unique(split_N).tolist()) - {TRAIN, VALIDATION, TEST}):
        raise BadNpz(path, f"`split` must be 0 (to learn from), 1 (validation) or 2 (test), not {strange[0]}")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise BadNpz(path, f"`classes` must be a list of texts, it is {classes.dtype} of shape {classes.shape}")
    with _explaining(path):
        return Labelled(
            path=path,
            shape=(count, height, width, channels),
            labels=labels_N,
            split=split_N.astype(np.uint8),
            classes=tuple(classes.tolist()) if classes is not None else None,
        )


def read_arrays(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """These arrays of a file, whole; `BadNpz` when one is not there, or is not what its header says."""
    arrays = {}
    with _explaining(path), zipfile.ZipFile(path) as archive:
        for name in names:
            with _member(archive, name) as (member, size):
                arrays[name] = npy.read_array(member, size)
                member.read(1)  # to its end, where the checksum is compared
    return arrays


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """An array's file in the archive, and its size: as claimed, but no more than what is there can become."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in MOST_FOR_A_BYTE:
        raise ValueError(f"`{name}` is compressed as numpy never does")
    there = min(info.compress_size, os.path.getsize(str(archive.filename)))
    if info.file_size > there * MOST_FOR_A_BYTE[info.compress_type]:
        raise ValueError(f"`{name}` claims {info.file_size} bytes, which its {there} bytes in the file cannot hold")
    with archive.open(info) as member:
        yield member, info.file_size


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") or "none"


def _refuse_objects(path: Path, name: str, kind: Any) -> None:
    # numpy would unpickle them, which can run any code.
    if kind.hasobject:
        remedy = "np.array(classes, dtype=str)" if name == "classes" else f"np.array({name}, dtype=np.int64)"
        raise BadNpz(path, f"`{name}` is an array of Python objects; save {remedy} instead")


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
    except MemoryError as error:
        raise BadNpz(path, "its labels do not fit into this machine's memory") from error
    except FAILURES as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # it is not there, or may not be read
        reason = " ".join(str(error).split()).rstrip(".")
        raise BadNpz(path, f"it is damaged, or no .npz ({reason})") from error
