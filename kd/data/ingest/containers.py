"""A folder or an archive of files, whatever it is: listed, and read file by file. Nothing of it is written to disk."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from kd.data.ingest.folders import Folder
from kd.data.ingest.listing import BadSource, Entry, Limits
from kd.data.ingest.tars import Tar
from kd.data.ingest.zips import Zip

HEAD_BYTES = 512
# How files begin; a tar says so further on.
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
COMPRESSED_TAR = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
OTHERS = {
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xff\xd8\xff": "one image",
    b"\x89PNG": "one image",
}


class Container(Protocol):
    @property
    def source(self) -> str:
        """What it is called in sentences."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Its files but for litter, sorted by name; their sizes are held against the bytes that are there."""

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """These files, one after the other: of a tar in its own order, else sorted by name.

        At most `Limits.file_bytes` at a time. Raises `BadSource` where one is larger, or not what was listed.
        """


def open_container(path: Path, limits: Limits | None = None) -> Container:
    """The files at a path. Raises `BadSource` when they are none, or hold what is refused; `OSError` as `open` does."""
    limits = limits or Limits()
    if path.is_dir():
        return Folder(path, limits)
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(ZIP):
        return Zip(path, limits)
    for beginning, method in COMPRESSED_TAR.items():
        if head.startswith(beginning):
            return Tar(path, limits, method)
    if head[257:262] == b"ustar" or _has_checksum_of_tar(head):
        return Tar(path, limits, None)
    what = next((what for beginning, what in OTHERS.items() if head.startswith(beginning)), "nothing of that")
    raise BadSource(os.fspath(path.name), f"bring a folder, a zip or a tar (.gz, .bz2, .xz) of images; it is {what}")


def _has_checksum_of_tar(head: bytes) -> bool:
    """Of a tar from before POSIX, which has no other mark."""
    digits = head[148:156].strip(b" \0")
    if len(head) < HEAD_BYTES or not digits.isdigit() or set(digits) & set(b"89"):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:])
