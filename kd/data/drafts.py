"""The folder in which a data set is written before it has its name. One that was ended is gone on with.

Every few seconds the images that are written are made safe on disk, and after them `kept.jsonl` says which files they
come from, a line for each piece, with a checksum. Who goes on reads those again, and writes them over themselves.
"""

import errno
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from kd import liveness
from kd.data import npy
from kd.disk import sync
from kd.locks import LOCK, try_lock

IMAGES, KEPT = "images.npy", "kept.jsonl"
KEEP_SECONDS = 5.0

Shape = tuple[int, ...]  # H, W, C
# B = the images of a piece.


class Piece(NamedTuple):
    """Images that were written before, and the files that they come from."""

    images: NDArray[np.uint8]  # [B, H, W, C]
    names: list[str]


class _Line(BaseModel):
    """What `kept.jsonl` has of a piece."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    names: list[str]
    crc32: int

    @property
    def size(self) -> int:
        return len(self.names) * int(np.prod(self.shape))


class Draft:
    """A data set on its way to disk. Made by `begin`."""

    def __init__(self, folder: Path, *, lasts: bool):
        self.folder, self.lasts = folder, lasts
        self.tell_kept: Callable[[int], object] = lambda images: None
        """Hears how many images are safe whenever more are."""
        self._lines = _read_lines(folder / KEPT) if lasts else []
        self._matched = 0  # of those, how many have been written again
        self._waiting: list[_Line] = []
        self._kept_at = time.monotonic()

    def open_images(self) -> IO[bytes]:
        """The file of the images, to be written from its beginning: what was kept stays in it until that is done."""
        path = self.folder / IMAGES
        return open(path, "r+b" if path.exists() else "wb")

    @property
    def kept_bytes(self) -> int:
        """What of its images is on disk, and need not find room there."""
        return sum(line.size for line in self._lines)

    def pieces(self) -> Iterator[Piece]:
        """What was kept of it, in its order, up to the first piece that is not what was written."""
        if not self._lines:
            return
        with open(self.folder / IMAGES, "rb") as file:
            try:
                npy.read_header(file)
            except ValueError:
                return
            for line in self._lines:
                liveness.advance()
                content = file.read(line.size)
                if len(content) != line.size or checksum(line.names, content) != line.crc32:
                    return
                yield Piece(np.frombuffer(content, np.uint8).reshape(-1, *line.shape), line.names)

    def wrote(self, file: IO[bytes], images_BHWC: NDArray[np.uint8], names: Sequence[str]) -> None:
        """These images, of these files, are in the file now, behind those of before."""
        if not self.lasts or not names:
            return
        line = _Line(shape=images_BHWC.shape[1:], names=list(names), crc32=checksum(names, images_BHWC.data))
        if self._matched < len(self._lines):
            if self._lines[self._matched] == line:
                self._matched += 1
                return
            self._forget_the_rest()
        self._waiting.append(line)
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._keep(file)

    def _keep(self, file: IO[bytes]) -> None:
        sync(file)
        with open(self.folder / KEPT, "ab") as kept:
            kept.writelines(line.model_dump_json().encode() + b"\n" for line in self._waiting)
            sync(kept)
        self._lines += self._waiting
        self._matched, self._waiting = len(self._lines), []
        self._kept_at = time.monotonic()
        self.tell_kept(sum(len(line.names) for line in self._lines))

    def _forget_the_rest(self) -> None:
        """What was kept beyond this is not what is written now."""
        self._lines = self._lines[: self._matched]
        with open(self.folder / KEPT, "wb") as kept:
            kept.writelines(line.model_dump_json().encode() + b"\n" for line in self._lines)
            sync(kept)

    def become(self, place: Path) -> None:
        """Give it its name; there is nothing to go on with any more."""
        (self.folder / KEPT).unlink(missing_ok=True)
        os.replace(self.folder, place)


def checksum(names: Sequence[str], pixels: bytes | memoryview) -> int:
    return zlib.crc32(pixels, zlib.crc32("\0".join(names).encode()))


def write_header(file: IO[bytes], count: int, shape: Shape) -> None:
    """What comes before the images; numpy leaves room in it for any count."""
    write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)})


@contextmanager
def begin(place: Path, identity: str | None = None) -> Iterator[Draft]:
    """A folder beside `place` to write a data set in.

    `identity`: all that decides what will be written; who was ended goes on under the same. Where somebody else is at
    it, or without an identity, it is begun anew. An error takes it away, and so does the end of the block; what
    ends us (`KeyboardInterrupt` and its like), or may be over the next time, leaves what may be gone on with.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = None if identity is None else _own(place, identity, stack)
        draft = Draft(folder or _fresh(place), lasts=folder is not None)
        try:
            yield draft
        except BaseException as error:
            if not (draft.lasts and _passes(error)):
                shutil.rmtree(draft.folder, ignore_errors=True)
            raise
        shutil.rmtree(draft.folder, ignore_errors=True)  # if it got no name


def _passes(error: BaseException) -> bool:
    """Whether who tries again may find it over. A full disk wants to be emptied."""
    if isinstance(error, OSError):
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, MemoryError) or not isinstance(error, Exception)


def _fresh(place: Path) -> Path:
    folder = place.with_name(f".{place.name}.{uuid4().hex}")
    folder.mkdir()
    return folder


def _own(place: Path, identity: str, stack: ExitStack) -> Path | None:
    """The folder of this identity, held until the stack ends; None while somebody else has it."""
    folder = place.with_name(f".{place.name}.{hashlib.sha256(identity.encode()).hexdigest()[:32]}")
    if not stack.enter_context(try_lock(folder)):
        return None
    stack.callback(folder.with_suffix(LOCK).unlink, missing_ok=True)
    folder.mkdir(exist_ok=True)
    os.utime(folder)  # nobody takes it for one that was left behind
    return folder


def _read_lines(kept: Path) -> list[_Line]:
    """Those that are whole; what comes after them is taken away."""
    lines: list[_Line] = []
    if not kept.exists():
        return lines
    with open(kept, "r+b") as file:
        whole = 0
        for line in file:
            try:
                read = _Line.model_validate_json(line)
            except ValidationError:
                break
            if not line.endswith(b"\n"):
                break
            lines.append(read)
            whole += len(line)
        file.truncate(whole)
    return lines
