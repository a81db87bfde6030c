"""Images that lie one after the other in a few files: MNIST's idx, and the binary version of CIFAR."""

import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd.data import parts
from kd.data.ingest.containers import Container
from kd.data.ingest.layouts import SPLITS
from kd.data.ingest.listing import BadSource, some
from kd.data.packing import Chunk

MOST_BYTES = 1 << 29
CHUNK_BYTES = 1 << 22
IDX = re.compile(r"(?P<set>.*?)[-_.]?(?P<what>images|labels)[-.]idx(?P<axes>[1-4])-ubyte(?P<packed>\.gz)?")
# The types of numbers that labels come in. http://yann.lecun.com/exdb/mnist
IDX_LABELS: dict[int, np.dtype[Any]] = {
    8: np.dtype(np.uint8),
    9: np.dtype(np.int8),
    11: np.dtype(">i2"),
    12: np.dtype(">i4"),
}
# A. Krizhevsky: https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR = {
    "CIFAR-10's binary version": (1, re.compile(r"data_batch_\d\.bin"), "test_batch.bin", "batches.meta.txt"),
    "CIFAR-100's binary version": (2, re.compile(r"train\.bin"), "test.bin", "fine_label_names.txt"),
}
CIFAR_SHAPE = (3, 32, 32)

# Shapes: N = images, H, W = height and width, C = channels.


@dataclass(frozen=True)
class Piece:
    """A file of images and the labels to it."""

    images: NDArray[np.uint8]  # [N, H, W, C]
    labels: NDArray[np.int64]  # [N]
    part: int

    def chunks(self) -> Iterator[Chunk]:
        step = max(1, CHUNK_BYTES // math.prod(self.images.shape[1:]))
        for first in range(0, len(self.images), step):
            yield Chunk(self.images[first : first + step], self.labels[first : first + step], self.part)


@dataclass(frozen=True)
class Arrays:
    """What was found; `read` gives a file at a time."""

    kind: str
    container: Container
    files: Sequence[tuple[int, tuple[str, ...]]]  # of each piece its part, and the names of its files
    classes: tuple[str, ...] | None = None
    label_bytes: int = 0  # of CIFAR

    def __str__(self) -> str:
        return f"understood as {self.kind}: {some(name for _, names in self.files for name in names)}"

    def chunks(self) -> Iterator[Chunk]:
        """All images. Raises `BadSource` where a file is not what its name promises."""
        for part, names in self.files:
            contents = [_content(self.container, name) for name in names]
            is_cifar = self.label_bytes > 0
            piece = self._cifar(part, names[0], contents[0]) if is_cifar else self._idx(part, names, contents)
            yield from piece.chunks()

    def _idx(self, part: int, names: tuple[str, ...], contents: list[bytes]) -> Piece:
        images, labels = (_idx(self.container.source, *each) for each in zip(names, contents, strict=True))
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            why = f"{names[0]} holds {images.dtype} of shape {images.shape}, not images of 8 bits"
            raise BadSource(self.container.source, why)
        if labels.shape != (len(images),):
            why = f"{names[1]} has {labels.shape} labels for the {len(images):,} images of {names[0]}"
            raise BadSource(self.container.source, why)
        return Piece(images if images.ndim == 4 else images[..., None], labels.astype(np.int64), part)

    def _cifar(self, part: int, name: str, content: bytes) -> Piece:
        of_one = self.label_bytes + math.prod(CIFAR_SHAPE)
        if len(content) % of_one or not content:
            why = f"{name} has {len(content):,} bytes, which is no whole number of images of {of_one:,}; bring it again"
            raise BadSource(self.container.source, why)
        rows = np.frombuffer(content, np.uint8).reshape(-1, of_one)
        images_NCHW = rows[:, self.label_bytes :].reshape(-1, *CIFAR_SHAPE)
        return Piece(images_NCHW.transpose(0, 2, 3, 1), rows[:, self.label_bytes - 1].astype(np.int64), part)


def find(container: Container) -> Arrays | None:
    """The images of such files, if the container has any. Raises `BadSource` where one is missing to them."""
    paths = {entry.name: PurePosixPath(entry.name) for entry in container.entries}
    return _find_cifar(container, paths) or _find_idx(container, paths)


def _find_cifar(container: Container, paths: dict[str, PurePosixPath]) -> Arrays | None:
    for kind, (label_bytes, training, test, classes) in CIFAR.items():
        files = [(parts.TRAIN, (name,)) for name, path in sorted(paths.items()) if training.fullmatch(path.name)]
        files += [(parts.TEST, (name,)) for name, path in paths.items() if path.name == test]
        if {part for part, _ in files} != {parts.TRAIN, parts.TEST}:
            continue
        names = [name for name, path in paths.items() if path.name == classes]
        text = _content(container, names[0]).decode("utf-8", "replace") if names else ""
        return Arrays(kind, container, files, tuple(text.split()) or None, label_bytes)
    return None


def _find_idx(container: Container, paths: dict[str, PurePosixPath]) -> Arrays | None:
    found: dict[str, dict[str, str]] = {}
    # Of a file that is there twice the unpacked one.
    for name, path in sorted(paths.items(), reverse=True):
        if match := IDX.fullmatch(path.name):
            found.setdefault(match["set"], {})[match["what"]] = name
    if not found:
        return None
    for files in found.values():
        if len(files) < 2:
            missing = "labels" if "images" in files else "images"
            raise BadSource(container.source, f"to {some(files.values())} the {missing} are missing; put them there")
    split_of = {**SPLITS, "t10k": parts.TEST}
    pieces, sets = [], set()
    for which, files in sorted(found.items()):
        begin, split = (*re.split(r"[-_.]?([^-_.]*)$", which), "")[:2]
        if split not in split_of:
            raise BadSource(container.source, f"{files['images']} does not say whether it is of train, t10k or test")
        sets.add(begin)
        pieces.append((split_of[split], (files["images"], files["labels"])))
    if len(sets) > 1:
        raise BadSource(container.source, f"it holds several data sets, {some(sorted(sets))}; leave one of them there")
    return Arrays("MNIST's idx", container, sorted(pieces))


def _content(container: Container, name: str) -> bytes:
    ((_, content),) = container.read([name])
    if not name.endswith(".gz"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadSource(container.source, f"{name} is damaged, or was cut off on its way ({error})") from error
    if len(unpacked) > MOST_BYTES:
        raise BadSource(container.source, f"{name} unpacks to more than {MOST_BYTES:,} bytes")
    return unpacked


def _idx(source: str, name: str, content: bytes) -> NDArray[Any]:
    """An array whose header and bytes are those that its format asks for."""
    kind, axes = (content[2], content[3]) if content[:2] == b"\0\0" and len(content) >= 4 else (0, 0)
    shape = (
        tuple(int(length) for length in np.frombuffer(content[4 : 4 + 4 * axes], np.dtype(">u4"))) if axes <= 4 else ()
    )
    dtype = IDX_LABELS.get(kind)
    if dtype is None or not 1 <= len(shape) == axes:
        raise BadSource(source, f"{name} does not begin as an idx file of whole numbers does")
    first = 4 + 4 * axes
    if math.prod(shape) * dtype.itemsize != len(content) - first or 0 in shape:
        raise BadSource(
            source, f"{name} claims {shape}, and has {len(content) - first:,} bytes; bring it again, or pack it anew"
        )
    return np.frombuffer(content, dtype, offset=first).reshape(shape)
