"""An `.npy` or `.npz` of numbers, read a piece at a time with the standard library alone: a header, and numbers."""

import ast
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from kd.errors import KdError

IMAGE = "image"

FLOATS = {"<f2": "e", "<f4": "f", "<f8": "d"}
INTEGERS = {"|i1": "b", "|u1": "B", "<i2": "h", "<u2": "H", "<i4": "i", "<u4": "I", "<i8": "q", "<u8": "Q"}
# As many as numpy itself evaluates without being told to trust the file.
MOST_HEADER_BYTES = 10_000

# What reading a file raises that is no array, or a damaged one.
FAILURES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    SyntaxError,
    RuntimeError,
    RecursionError,
)


class BadArray(KdError):
    """A file that holds no array as it is wanted; `why` is the rest of a sentence about it."""

    def __init__(self, why: str):
        super().__init__(f"These labels cannot be taken: {why}.")
        self.why = why


@dataclass(frozen=True)
class Header:
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        return math.prod(self.shape) * int(self.kind[2:])


Array = tuple[IO[bytes], int]
"""A file that stands at an array's header, and how many bytes there are of it."""


@contextmanager
def arrays_in(file: IO[bytes], name: str) -> Iterator[tuple[Array, Array | None]]:
    """The array of this name in an `.npz`, and that of the images' numbers if there is one; or the one of an `.npy`."""
    file.seek(0)
    begin = file.read(6)
    size = file.seek(0, 2)
    file.seek(0)
    if begin == b"\x93NUMPY":
        yield (file, size), None
        return
    if begin[:2] != b"PK":
        raise BadArray("the file is neither an .npy nor an .npz, as np.save and np.savez write them")
    with zipfile.ZipFile(file) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if name not in names:
            raise BadArray(f"the .npz has no array `{name}`; it has {', '.join(sorted(names)[:5]) or 'none'}")
        if strange := sorted({*names} - {name, IMAGE}):
            raise BadArray(f"the .npz has an array `{strange[0]}`; there may be `{name}` and `image`")
        with archive.open(f"{name}.npy") as member:
            labels = (member, archive.getinfo(f"{name}.npy").file_size)
            if IMAGE not in names:
                yield labels, None
                return
            with archive.open(f"{IMAGE}.npy") as numbers:
                yield labels, (numbers, archive.getinfo(f"{IMAGE}.npy").file_size)


def read_header(file: IO[bytes]) -> Header:
    """The header of an array of numbers, row after row; the file is at its first number then."""
    begin = exactly(file, 8)
    if begin[:6] != b"\x93NUMPY" or begin[6] not in (1, 2, 3):
        raise BadArray("an array in it is not as NumPy writes them")
    length = int.from_bytes(exactly(file, 2 if begin[6] == 1 else 4), "little")
    if length > MOST_HEADER_BYTES:
        raise BadArray(f"an array in it has a header of {length} bytes")
    said = ast.literal_eval(exactly(file, length).decode("latin1").strip())
    if not isinstance(said, dict) or not isinstance(kind := said.get("descr"), str):
        raise BadArray("an array in it is none of plain numbers")
    shape = said.get("shape")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and 0 <= side < 1 << 40 for side in shape):
        raise BadArray("an array in it has no shape")
    if said.get("fortran_order") and len(shape) > 1:
        raise BadArray("an array in it is in Fortran's order; save np.ascontiguousarray of it")
    if kind not in FLOATS and kind not in INTEGERS:
        raise BadArray(f"an array in it holds {kind}; it must hold little-endian floats, or integers for `image`")
    return Header(shape, kind)


def header_of(kind: str, shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` array, version 1.0, padded so that the numbers begin at a multiple of 64."""
    said = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = -(-(10 + len(said) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + said.ljust(length - 1).encode() + b"\n"


def exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise EOFError("it breaks off")
    return content


@contextmanager
def explaining() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise BadArray(f"the file is damaged ({reason})") from error
