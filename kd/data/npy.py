"""The headers of `.npy` arrays, checked against the bytes that are there before anything is allocated for them."""

import math
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# More than any list of fields needs; as many as numpy itself evaluates without being told to trust the file.
MOST_HEADER_BYTES = 10_000


class Header(NamedTuple):
    """What a file says that it holds."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_column: bool

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """The header; the file is at its first number then. `ValueError` when it is none."""
    version = npy.read_magic(file)
    length_bytes = {(1, 0): 2, (2, 0): 4}.get(version)
    if length_bytes is None:
        raise ValueError(f"a header of version {version[0]}.{version[1]}")
    length = int.from_bytes(file.read(length_bytes), "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    # As the header of an array of version 1.0, which it is but for the width of its length.
    content = BytesIO(length.to_bytes(2, "little") + file.read(length))
    try:
        shape, by_column, dtype = npy.read_array_header_1_0(content)
    except Exception as error:  # numpy evaluates it as Python, which fails in half a dozen ways
        raise ValueError(f"no header of an array: {error}") from error
    if any(length < 0 for length in shape) or dtype.itemsize == 0:
        raise ValueError(f"a header that claims {dtype} of shape {shape}")
    return Header(shape, dtype, by_column)


def read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a file of so many bytes. Refuses objects, for reading those can run any code."""
    header = read_header(file)
    if header.dtype.hasobject:
        raise ValueError("an array of Python objects")
    check_size(header, size - file.tell())
    content = np.empty(header.size, np.uint8)
    if file.readinto(content.data) != header.size:  # type: ignore[attr-defined]  # every binary file has it
        raise EOFError("an array that breaks off")
    return content.view(header.dtype).reshape(header.shape, order="F" if header.by_column else "C")


def check_size(header: Header, there: int) -> None:
    """`ValueError` when the bytes that are there are not those of the array."""
    if header.size != there:
        raise ValueError(
            f"its header claims {header.dtype} of shape {header.shape}, {header.size} bytes; {there} follow"
        )


def open_map(path: Path, mode: str) -> NDArray[Any]:
    """The array in a file, mapped into memory. `ValueError` when it is damaged, `OSError` when it is not there."""
    with open(path, "rb") as file:
        header = read_header(file)
        offset = file.tell()
    if header.dtype.hasobject:
        raise ValueError("an array of Python objects")
    check_size(header, path.stat().st_size - offset)
    return np.memmap(path, header.dtype, mode, offset, header.shape, "F" if header.by_column else "C")  # type: ignore[call-overload,no-any-return]
