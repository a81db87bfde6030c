"""Labels that somebody made elsewhere: checked row by row, and kept as a table like any other, of one view.

Only the standard library, as for all that the API does with tables: an `.npy`, or an `.npz`, is a header and numbers.
"""

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from kd.disk import atomic, sha256_of
from kd.errors import KdError
from kd.labels import cache
from kd.labels.arrays import (
    FLOATS,
    IMAGE,
    INTEGERS,
    Array,
    BadArray,
    Header,
    arrays_in,
    exactly,
    explaining,
    header_of,
    read_header,
)
from kd.labels.cache import ARRAY, MANIFEST, PARAMETERS, Entry
from kd.labels.manifest import Identity, Manifest, ViewParameters, read_manifest
from kd.locks import try_lock

Kind = Literal["logits", "probabilities"]
KINDS: tuple[Kind, ...] = ("logits", "probabilities")

BLOCK_VALUES = 1 << 16
# Half precision rounds each probability by at most 1/2048 of it.
TOLERANCE = 1e-3
HIGHEST = 65_504.0  # in half precision
# A probability of 0 is less than any that single precision can say, of which the least has the logarithm -103.3.
LOG_OF_ZERO = -104.0
# Shapes: N = rows, C = classes.


class LabelsRefused(BadArray):
    """What was pushed holds no labels of this data set."""


class PushedFull(KdError):
    """Labels that would leave too little room for those that teachers make here."""

    def __init__(self, needed_bytes: int, may_bytes: int):
        super().__init__(
            f"With this one the pushed label tables would take {needed_bytes:,} bytes; they may take {may_bytes:,}, "
            "half of STILLHOUSE_LABEL_CACHE_BYTES. Delete those that nobody needs, or raise it (0: no limit)."
        )


@dataclass(frozen=True)
class Images:
    """What a data set has. `in_order` are numbers of images that labels without a column of numbers may have: all, or
    those that are not for the test, where these come first."""

    dataset: str
    images: int
    classes: int
    in_order: tuple[int, ...]
    digest: str | None = None


@dataclass
class Looks:
    """What the rows are like, all in all."""

    rows: int = 0
    flat: int = 0
    certain: int = 0
    sum_to_one: int = 0
    first: tuple[float, ...] = ()
    differ: bool = False
    places: list[int] = field(default_factory=list)  # of the first flat rows

    def see(self, row: tuple[float, ...]) -> None:
        least, most = min(row), max(row)
        if least == most:
            self.flat += 1
            self.places += [self.rows] if len(self.places) < 3 else []
        distribution = least >= 0 and abs(math.fsum(row) - 1) <= TOLERANCE
        self.sum_to_one += distribution
        self.certain += distribution and most >= 1 - TOLERANCE
        self.first = self.first or row
        self.differ = self.differ or row != self.first
        self.rows += 1


def take(
    file: IO[bytes], sha256: str, folder: Path, of: Images, kind: Kind, *, limit_bytes: int | None = None
) -> tuple[Entry, bool]:
    """The table of the labels in a file, and whether it is new. `sha256` is the file's, which may lie in memory.

    The file is an `.npy` array [N, C], or [N, 1, C], of logits or of probabilities; or an `.npz` with that array under
    the name `logits` or `probabilities`, and perhaps `image`, the number of each row's image. Without that, row i is of
    image i. Raises `LabelsRefused` for what it does not hold, and `PushedFull`.
    """
    identity = Identity(
        teacher=hashlib.sha256(f"pushed {kind} {sha256}".encode()).hexdigest(),
        dataset=of.digest or "",
        plan={"dataset": of.dataset},
        views=1,
        precision="float16",
    )
    path = folder / f"{identity.name}{ARRAY}"
    folder.mkdir(parents=True, exist_ok=True)
    with try_lock(path) as mine:
        if not mine:
            raise cache.TableBusy(identity.name)
        if read_manifest(path.with_suffix(MANIFEST)) is not None and path.exists():
            cache.touch(path)
            return cache.entry(folder, identity.name), False
        with explaining(), arrays_in(file, kind) as (labels, numbers):
            _write(path, identity, of, kind, labels, numbers, limit_bytes)
    return cache.entry(folder, identity.name), True


def _write(
    path: Path,
    identity: Identity,
    of: Images,
    kind: Kind,
    labels: Array,
    numbers: Array | None,
    limit_bytes: int | None,
) -> None:
    member, size = labels
    header = read_header(member)
    _check_shape(header, kind, of)
    if header.size != size - member.tell():
        raise LabelsRefused(f"the header of `{kind}` claims {header.size} bytes, and {size - member.tell()} follow")
    count = header.shape[0]
    if count > of.images:
        raise LabelsRefused(f"there are {count:,} rows, and {of.dataset} has {of.images:,} images")
    image_N = _numbers(numbers, count, of)
    needed = cache.table_bytes((count, 1, of.classes), 1)
    if limit_bytes and (all_of_them := needed + cache.pushed_bytes(path.parent)) > limit_bytes // 2:
        raise PushedFull(all_of_them, limit_bytes // 2)
    cache.make_room(path.parent, identity.name, needed, limit_bytes)

    looks = Looks()
    with atomic(path) as file:
        file.write(header_of("<f2", (count, 1, of.classes)))
        for row in _rows(member, header, of.classes):
            file.write(struct.pack(f"<{of.classes}e", *_logits(row, kind, looks)))
        member.read(1)  # of an archive to its end, where the checksum is compared
        _judge(looks, kind)
    with atomic(path.with_suffix(PARAMETERS)) as file:
        file.write(header_of("<i4", (count, 1, 1)))
        file.write(struct.pack(f"<{count}i", *image_N))
    manifest = Manifest(
        **identity.model_dump(),
        origin="pushed",
        remarks=tuple(_remarks(looks, kind)),
        dataset_name=of.dataset,
        shape=(count, 1, of.classes),
        sha256=sha256_of(path),
        view_parameters=ViewParameters(columns=(IMAGE,), sha256=sha256_of(path.with_suffix(PARAMETERS))),
    )
    with atomic(path.with_suffix(MANIFEST)) as file:
        file.write(manifest.model_dump_json(indent=2).encode())


def _check_shape(header: Header, kind: Kind, of: Images) -> None:
    shape = header.shape
    if header.kind not in FLOATS:
        raise LabelsRefused(f"`{kind}` must be float16, float32 or float64, little-endian; it is {header.kind}")
    if len(shape) == 3 and shape[1] != 1:
        raise LabelsRefused(
            f"`{kind}` has {shape[1]} views of each image; what is pushed is of images as they are, one row for each"
        )
    if len(shape) not in (2, 3) or shape[0] == 0:
        raise LabelsRefused(f"`{kind}` must have the shape images × classes, it has {shape}")
    if shape[-1] != of.classes:
        raise LabelsRefused(f"`{kind}` has {shape[-1]} classes, {of.dataset} has {of.classes}")


def _numbers(array: Array | None, count: int, of: Images) -> list[int]:
    """Of which image each row is."""
    if array is None:
        if count not in of.in_order:
            may = " or ".join(f"{images:,}" for images in of.in_order)
            raise LabelsRefused(
                f"there are {count:,} rows, and {of.dataset} has {may} images; rows of some of them go into an .npz, "
                "with the number of each one's image, from 0 in the data set's order, as `image`"
            )
        return list(range(count))
    member, size = array
    header = read_header(member)
    if header.kind not in INTEGERS or header.shape != (count,):
        raise LabelsRefused(
            f"`image` must be an integer for each of {count:,} rows, it is {header.kind} {header.shape}"
        )
    if header.size != size - member.tell():
        raise LabelsRefused("`image` breaks off")
    image_N = list(struct.unpack(f"<{count}{INTEGERS[header.kind]}", exactly(member, header.size)))
    if (least := min(image_N)) < 0 or max(image_N) >= of.images:
        strange = least if least < 0 else max(image_N)
        raise LabelsRefused(f"`image` names image {strange}, and those of {of.dataset} are 0 to {of.images - 1}")
    if len(set(image_N)) != count:
        raise LabelsRefused("`image` names an image twice")
    return image_N


def _rows(member: IO[bytes], header: Header, classes: int) -> Iterator[tuple[float, ...]]:
    count, width, code = header.shape[0], int(header.kind[2:]), FLOATS[header.kind]
    step = max(1, BLOCK_VALUES // classes)
    for first in range(0, count, step):
        values = min(step, count - first) * classes
        block = struct.unpack(f"<{values}{code}", exactly(member, values * width))
        for start in range(0, values, classes):
            yield block[start : start + classes]


def _logits(row: tuple[float, ...], kind: Kind, looks: Looks) -> tuple[float, ...] | list[float]:
    """A row as logits that half precision can hold; `LabelsRefused` says what is wrong with it."""
    place = looks.rows
    if not all(map(math.isfinite, row)):
        raise LabelsRefused(f"row {place} has a value that is not finite")
    before = looks.sum_to_one
    looks.see(row)
    if kind == "logits":
        if max(row) > HIGHEST or min(row) < -HIGHEST:
            raise LabelsRefused(f"row {place} has a logit beyond ±65504, which half precision cannot hold")
        return row
    if looks.sum_to_one == before:
        if min(row) < 0:
            raise LabelsRefused(f"row {place} has a negative value: logits are pushed as logits")
        raise LabelsRefused(f"row {place} adds up to {math.fsum(row):.6g}, and probabilities to 1")
    return [math.log(value) if value > 0 else LOG_OF_ZERO for value in row]


def _judge(looks: Looks, kind: Kind) -> None:
    """Refuse what nobody can learn from, whatever each row says."""
    if looks.flat == looks.rows:
        raise LabelsRefused("every row says the same of every class")
    if looks.rows > 1 and not looks.differ:
        raise LabelsRefused("all rows are the same")
    if kind == "logits" and looks.sum_to_one == looks.rows:
        raise LabelsRefused("every row adds up to 1 and none is negative: these are probabilities, push them as such")


def _remarks(looks: Looks, kind: Kind) -> Iterator[str]:
    if looks.flat:
        which = ", ".join(map(str, looks.places)) + (", …" if looks.flat > len(looks.places) else "")
        yield f"{looks.flat} of {looks.rows} rows say the same of every class (row {which})."
    if kind == "probabilities" and looks.certain == looks.rows:
        yield "Every row is sure of one class: such labels say no more than hard ones."
