"""The header of a safetensors file, held against the bytes that are there. No torch, and nothing is executed.

Eight bytes say how long it is; then JSON says of each tensor its type, its shape, and which of the bytes that follow
are its own. Nothing that the header claims is believed, nor is memory taken for it, before it is seen to be so.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field

from kd.errors import KdError

MOST_HEADER_BYTES = 2 << 20
"""Some 20,000 tensors. The format allows fifty times as much, which would be a gigabyte once it is read."""
MOST_DIMENSIONS = 8

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
INTEGERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
BYTES_OF = FLOATS | INTEGERS

METADATA = "__metadata__"
FIELDS = {"dtype", "shape", "data_offsets"}


class BadHeader(KdError):
    """A file of safetensors that is damaged, or lies; `why` is a clause."""

    def __init__(self, why: str):
        super().__init__(f"The weights cannot be read: {why}.")
        self.why = why


class Weights(BaseModel):
    """What a file of safetensors says of itself."""

    model_config = ConfigDict(frozen=True)

    tensors: int
    numbers: int = Field(description="floating-point ones in them: parameters, and what normalisations have counted")
    types: tuple[str, ...] = Field(description="of those numbers, as in F32, BF16")


@dataclass(frozen=True)
class Claim:
    """What the header says of one tensor."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """The tensors in a file by name, as they lie there, and what else whoever wrote it has said."""

    tensors: Mapping[str, Claim]
    metadata: Mapping[str, str]

    def weights(self) -> Weights:
        """What they come to."""
        floats = [one for one in self.tensors.values() if one.kind in FLOATS]
        return Weights(
            tensors=len(self.tensors),
            numbers=sum(math.prod(one.shape) for one in floats),
            types=tuple(sorted({one.kind for one in floats})),
        )


def read(file: IO[bytes], size: int) -> Header:
    """That of a file of so many bytes, which is read from where it is. Raises `BadHeader`."""
    length_bytes = file.read(8)
    if len(length_bytes) < 8:
        raise BadHeader("the file ends before its header")
    length = int.from_bytes(length_bytes, "little")
    if length > size - 8:
        raise BadHeader(f"its header is said to take {length:,} bytes, and the file has {size:,}: it was cut off")
    if length > MOST_HEADER_BYTES:
        raise BadHeader(f"its header takes {length:,} bytes, and {MOST_HEADER_BYTES:,} are the limit")
    found = _read_json(file.read(length))
    metadata = found.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise BadHeader(f"{METADATA} in its header is no mapping of texts")
    if not found:
        raise BadHeader("it holds no tensors")
    claims = {name: _claim(name, entry) for name, entry in found.items()}
    in_order = dict(sorted(claims.items(), key=lambda item: (item[1].begin, item[1].end)))
    _check_places(in_order, size - 8 - length)
    return Header(in_order, metadata)


def _read_json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        why = str(error) if isinstance(error, _Refused) else "it is no JSON in UTF-8"
        raise BadHeader(f"its header cannot be read: {why}") from None
    if not isinstance(found, dict):
        raise BadHeader("its header cannot be read: it is no JSON object")
    return found


class _Refused(ValueError):
    """JSON that is well formed, and none of ours."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Refused(f"{quoted(name)} is there twice")
        found[name] = value
    return found


def _no_number(text: str) -> None:
    raise _Refused(f"{text} is no number of JSON")


def _claim(name: str, entry: Any) -> Claim:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadHeader(f"the name of a tensor, {quoted(name)}, is no text") from None
    if not isinstance(entry, dict) or entry.keys() != FIELDS:
        raise BadHeader(f"its header must say dtype, shape and data_offsets of {quoted(name)}, and nothing else")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in BYTES_OF:
        what = f"type {quoted(kind)}" if isinstance(kind, str) else "no type"
        raise BadHeader(f"{quoted(name)} is of {what}: save weights as float32, float16 or bfloat16")
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise BadHeader(f"the shape of {quoted(name)} must be at most {MOST_DIMENSIONS} whole numbers from 0")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadHeader(f"data_offsets of {quoted(name)} must be two whole numbers, the first byte and the end")
    claimed, given = math.prod(shape) * BYTES_OF[kind], offsets[1] - offsets[0]
    if claimed != given:
        raise BadHeader(
            f"{quoted(name)} is said to be {kind} of shape {shown(shape)}, {_bytes(claimed)}, and to lie in "
            f"{_bytes(given)}"
        )
    return Claim(kind, tuple(shape), offsets[0], offsets[1])


def _are_counts(numbers: Any) -> bool:
    # A bool is an int to Python, and no number to JSON.
    return isinstance(numbers, list) and all(type(one) is int and one >= 0 for one in numbers)


def _check_places(in_order: Mapping[str, Claim], there: int) -> None:
    """Raise `BadHeader` unless each byte is one tensor's."""
    at, before = 0, ""
    for name, claim in in_order.items():
        if claim.begin < at:
            raise BadHeader(f"the bytes of {quoted(name)} overlap those of {quoted(before)}")
        if claim.begin > at:
            raise BadHeader(f"{_bytes(claim.begin - at)} before those of {quoted(name)} belong to none")
        at, before = claim.end, name
    if at > there:
        raise BadHeader(f"its tensors take {_bytes(at)}, and {there:,} are there: it was cut off")
    if at < there:
        raise BadHeader(f"{_bytes(there - at)} after its tensors belong to none")


def quoted(name: str) -> str:
    """A name of anybody's choice, in a sentence."""
    return repr(name[:80])


def shown(shape: Any) -> str:
    """As in 64×3×7×7."""
    return "×".join(map(_count, shape)) or "a single number"


def _bytes(number: int) -> str:
    return "1 byte" if number == 1 else f"{_count(number)} bytes"


def _count(number: int) -> str:
    """Of any number of digits, which Python does not print."""
    return f"{number}" if number < 1 << 64 else "more than 2^64"
