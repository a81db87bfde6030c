"""Who reads the spoilt files of `tests.attack.readers`: one for each line on stdin, one line of JSON on stdout each.

A file is known by its number. Before a file is read it lies in the given folder as `bad.*`, for whoever wants to know
what ended this process.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import re
import resource
import signal
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch

from kd.data.ingest.add import add
from kd.errors import KdError
from kd.models.build import build
from kd.models.start import Beginning, head_of, read_file, take_over
from kd.models.weights import copy_of
from kd.teachers import uploads
from kd.teachers.kinds import NotTaken
from kd.teachers.uploads import Said
from tests.kd.data.ingest.photos import encoded, photo

SECONDS = 60
MORE_KILOBYTES = 400_000
SHAPE, ARCH = (3, 8, 8), "mlp"
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
NUMBER = re.compile(rb"\d+")
Files = Mapping[str, bytes]


def main(place: Path, number: int) -> None:
    os.chdir(place)
    kinds = list(READERS)
    for kind in kinds:  # what is loaded and kept at the first time is no file's fault
        read(kind, MAKERS[kind](random.Random(0), spoil=False), place)
        (place / f"bad.{kind}").unlink()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        chance = random.Random(number)
        kind = chance.choice(kinds)
        content = MAKERS[kind](chance, spoil=True)
        signal.alarm(SECONDS)  # it ends us
        outcome, escaped = read(kind, content, place)
        signal.alarm(0)
        if escaped is None:
            (place / f"bad.{kind}").unlink()
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if now - memory > MORE_KILOBYTES:
            escaped = escaped or f"it took {(now - memory) // 1_000} MB more than what is right"
        memory = max(memory, now)
        if left := [path.name for path in place.iterdir() if path.name not in ("data", f"bad.{kind}")]:
            escaped = escaped or f"it left {left}"
        print(json.dumps({"number": number, "kind": kind, "outcome": outcome, "escaped": escaped}), flush=True)
        number += 1


def read(kind: str, content: bytes, place: Path) -> tuple[str, str | None]:
    """Whether a file was taken, and what escaped."""
    path = place / f"bad.{kind}"
    path.write_bytes(content)
    try:
        READERS[kind](path, place / "data")
    except (KdError, NotTaken):
        return "refused", None
    except Exception as error:
        return "escaped", f"{type(error).__name__}: {error}"[:500]
    return "taken", None


def read_images(path: Path, folder: Path) -> None:
    facts = add(folder, "packed/bad", path, size=16, skip_unreadable=True)
    assert facts.train > 0
    for file in (folder / "packed" / "bad").iterdir():
        file.unlink()
    (folder / "packed" / "bad").rmdir()


def read_arrays(path: Path, folder: Path) -> None:
    add(folder, "packed/bad", path)
    for file in (folder / "packed" / "bad").iterdir():
        file.unlink()
    (folder / "packed" / "bad").rmdir()


def read_weights(path: Path, folder: Path) -> None:
    found, _ = uploads.add(folder / "teachers", io.BytesIO(path.read_bytes()), Said(name="bad", architecture=ARCH))
    try:
        beginning = Beginning("bad", None, None, lambda: read_file(path))
        take_over(build(ARCH, 10, SHAPE), beginning, ARCH, head_of(ARCH, 10, SHAPE), tuple("0123456789"))
    finally:
        uploads.remove(folder / "teachers", found.id)


# -- what is right, and how it is harmed -----------------------------------------------------------------------------


@cache
def photos() -> Files:
    kinds = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
    return {
        f"pets/{place}/{name}/{n}.{kind.lower()}": encoded(photo(n + 10 * len(name) + len(place)), kind)
        for place in ("train", "test")
        for name in ("cat", "mouse")
        for n, kind in enumerate(kinds)
    }


def files(chance: random.Random, *, spoil: bool) -> Files:
    """Photos, at times with one that is harmed, a name that leads elsewhere, a table that lies."""
    found = dict(photos())
    if not spoil or chance.random() < 0.5:
        return found
    for name in chance.sample(sorted(found), chance.randint(1, 4)):
        content = found.pop(name)
        if chance.random() < 0.3:
            parts = ["..", "/etc/x", "a\\b", "a\0b", "CON", "a" * 300, "é" * 90, ".", "__MACOSX", "C:"]
            name = "/".join([*chance.sample(parts, chance.randint(1, 3)), name.rpartition("/")[2]])
        found[name] = harmed(chance, content)
    if chance.random() < 0.2:
        found["pets/train/metadata.csv"] = harmed(chance, b"file_name,label\ncat/0.jpeg,cat\nmouse/1.png,mouse\n")
    return found


def a_zip(chance: random.Random, *, spoil: bool) -> bytes:
    file = io.BytesIO()
    method = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files(chance, spoil=spoil).items():
            archive.writestr(name, content)
    return maybe_harmed(chance, file.getvalue(), spoil=spoil)


def a_tar(chance: random.Random, *, spoil: bool) -> bytes:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=chance.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])) as tape:
        for name, content in files(chance, spoil=spoil).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if spoil and chance.random() < 0.02:
                member.type, member.linkname = chance.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, b"9"]), "../../x"
            tape.addfile(member, io.BytesIO(content))
    content = inner.getvalue()
    if spoil and chance.random() < 0.5:  # within what is packed, where no sum guards it
        content = harmed(chance, content)
    return maybe_harmed(chance, packed(chance, content), spoil=spoil)


def packed(chance: random.Random, content: bytes) -> bytes:
    return chance.choice([bytes, gzip.compress, bz2.compress, lzma.compress])(content)


def parquet(chance: random.Random, *, spoil: bool) -> bytes:
    images = [{"bytes": content, "path": name} for name, content in files(chance, spoil=spoil).items()]
    table = pa.table(
        {
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "label": pa.array([n % 2 for n in range(len(images))]),
        }
    )
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "mouse"], "_type": "ClassLabel"}}
    said = json.dumps({"info": {"features": features}}).encode()
    said = harmed(chance, said) if spoil and chance.random() < 0.3 else said
    file = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({b"huggingface": said}),
        file,
        compression=chance.choice(["none", "snappy", "zstd", "gzip"]),
        row_group_size=chance.choice([3, 100]),
    )
    return maybe_harmed(chance, file.getvalue(), spoil=spoil)


def an_npz(chance: random.Random, *, spoil: bool) -> bytes:
    file = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 5, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(60) % 4)
    if not spoil or chance.random() < 0.5:
        return maybe_harmed(chance, file.getvalue(), spoil=spoil)
    anew = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(anew, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, harmed(chance, content[:128]) + content[128:])
    return anew.getvalue()


@cache
def weights() -> bytes:
    return safetensors.torch.save(copy_of(build(ARCH, 10, SHAPE)))


def some_weights(chance: random.Random, *, spoil: bool) -> bytes:
    whole = weights()
    if not spoil:
        return whole
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    for _ in range(chance.randint(0, 3)):
        numbers = list(NUMBER.finditer(header))
        if chance.random() < 0.6 and numbers:
            one = chance.choice(numbers)
            header = header[: one.start()] + str(chance.choice(EXTREMES)).encode() + header[one.end() :]
        else:
            header = harmed(chance, header)
    claimed = len(header) if chance.random() < 0.8 else chance.choice(EXTREMES)
    return maybe_harmed(chance, claimed.to_bytes(8, "little") + header + whole[8 + length :], spoil=True)


def maybe_harmed(chance: random.Random, content: bytes, *, spoil: bool) -> bytes:
    return harmed(chance, content) if spoil and chance.random() < 0.6 else content


def harmed(chance: random.Random, content: bytes) -> bytes:
    """Some bytes of it others, a piece of it gone, or twice there, a number that it holds extreme."""
    harmed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        # What matters is at the beginning and at the end, most often.
        size = max(1, len(harmed))
        near = chance.randrange(min(size, 64))
        at = chance.choice([chance.randrange(size), near, size - 1 - near])
        match chance.randrange(5):
            case 0:
                harmed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                width = chance.choice([2, 4, 8])
                value = chance.choice(EXTREMES) % 256**width
                harmed[at : at + width] = value.to_bytes(width, chance.choice(["little", "big"]))
            case 2:
                del harmed[at : at + chance.choice([1, 8, 512, len(harmed)])]
            case 3:
                piece = harmed[at : at + chance.choice([1, 16, 512])]
                where = chance.randrange(size)
                harmed[where:where] = piece
            case 4:
                harmed[at : at + 16] = chance.randbytes(16)
    return bytes(harmed)


MAKERS: dict[str, Callable[..., bytes]] = {
    "zip": a_zip,
    "tar": a_tar,
    "parquet": parquet,
    "npz": an_npz,
    "safetensors": some_weights,
}
READERS: dict[str, Callable[[Path, Path], None]] = {
    "zip": read_images,
    "tar": read_images,
    "parquet": read_images,
    "npz": read_arrays,
    "safetensors": read_weights,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
