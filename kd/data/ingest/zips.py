"""A zip of files. What its directory claims is held against its bytes before anything is unpacked."""

import os
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO

from kd.data.ingest.folders import KINDS
from kd.data.ingest.listing import Limits, Listing
from kd.data.ingest.window import Window

# What a byte can become: deflate says a run of 258 bytes in 2 bits. The other methods have no such bound, and in
# Python's library no bound at all: a block of theirs is unpacked at once.
MOST_FOR_A_BYTE = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1_032}
DIRECTORY_MARK = b"PK\x01\x02"
DIRECTORY_BYTES_OF_A_FILE = 256
LOCAL_HEADER_BYTES = 30
ENCRYPTED, UTF8 = 0x1, 0x800
UNIX = 3
# What reading an archive raises that is damaged in one of many ways.
FAILURES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, RuntimeError, OSError)


class Zip:
    """Its file stays open as long as it is there: to read the directory again takes as long as thousands of images."""

    def __init__(self, path: Path, limits: Limits):
        self.source = path.name
        self._path, self._listing = path, Listing(path.name, limits)
        self._file = _Directory(path, self._listing)
        weakref.finalize(self, self._file.close)
        with self._explaining(None):
            self._archive = zipfile.ZipFile(self._file)
        self._file.is_read = True
        infos = self._archive.infolist()
        self._refuse_claims(infos, self._archive.start_dir)
        self._infos = {name: info for info in infos if (name := self._add(info))}
        self.entries = self._listing.finish()

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            info = self._infos[name]
            self._listing.refuse_large(name, info.file_size)
            with self._explaining(name), self._archive.open(info) as member:
                # To its end, where the checksum is compared.
                content = member.read(info.file_size)
                if len(content) < info.file_size or member.read(1):
                    raise EOFError(f"it is not of {info.file_size:,} bytes")
            yield name, content

    def open(self, name: str) -> IO[bytes]:
        """One of them, to be read from anywhere in it, its checksum unseen. Raises `BadSource` if it is compressed."""
        info = self._infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise self._listing.bad(f"{name} is compressed a second time; zip the files as they are (zip -0)")
        with self._explaining(name):
            header = os.pread(self._file.fileno(), LOCAL_HEADER_BYTES, info.header_offset)
            begin = info.header_offset + LOCAL_HEADER_BYTES + sum(struct.unpack("<HH", header[26:]))
        return BufferedReader(Window(self._file.fileno(), begin, info.file_size))

    def _add(self, info: zipfile.ZipInfo) -> str | None:
        """Take a member up; None if it is no file, or litter."""
        given = _name(info)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == UNIX else 0
        if given.endswith("/"):
            self._listing.count()
            self._listing.parts(given)
            return None
        if kind not in (0, stat.S_IFREG):
            raise self._listing.refuse(given, KINDS.get(kind, "a device"))
        if info.flag_bits & ENCRYPTED:
            raise self._listing.bad(f"{given[:100]!r} is encrypted; pack it again without a password")
        if info.compress_type not in MOST_FOR_A_BYTE:
            raise self._listing.bad(
                f"{given[:100]!r} is compressed by method {info.compress_type}; zip it again by the usual one (deflate)"
            )
        if info.file_size > info.compress_size * MOST_FOR_A_BYTE[info.compress_type]:
            raise self._listing.bad(
                f"{given[:100]!r} claims {info.file_size:,} bytes, which its {info.compress_size:,} bytes in the file "
                "cannot hold; pack it again"
            )
        return self._listing.add(given, info.file_size)

    def _refuse_claims(self, infos: list[zipfile.ZipInfo], end: int) -> None:
        total = sum(info.file_size for info in infos)
        if total > self._listing.limits.most_from(os.path.getsize(self._path)):
            raise self._listing.too_large(f"{total:,} bytes")
        # The same bytes for several members make a small file a large one (D. Fifield: A better zip bomb, 2019).
        for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
            if info.header_offset + LOCAL_HEADER_BYTES + info.compress_size > end:
                raise self._listing.bad(f"{_name(info)[:100]!r} lies over another of its files; pack it again")
            end = info.header_offset

    @contextmanager
    def _explaining(self, name: str | None) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # it is not there any more, or may not be read
            raise self._listing.damaged(error, name) from error


class _Directory(BufferedReader):
    """The file of a zip. The library reads its directory at once and makes an object of each file that it lists: here
    they are counted first."""

    def __init__(self, path: Path, listing: Listing):
        super().__init__(FileIO(path))
        self._listing, self.is_read = listing, False

    def read(self, size: int | None = -1) -> bytes:
        if self.is_read:
            return super().read(size)
        limit = self._listing.limits.files
        left = os.fstat(self.fileno()).st_size - self.tell()
        content = super().read(min(left if size is None or size < 0 else size, left, limit * DIRECTORY_BYTES_OF_A_FILE))
        if content.count(DIRECTORY_MARK) > limit:
            raise self._listing.bad(f"it holds more than {limit:,} files, which are the most that are taken")
        return content


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member as it was meant."""
    given = info.orig_filename
    if not info.flag_bits & UTF8 and not given.isascii():
        # macOS writes UTF-8 and does not say so; the library takes what says nothing for the letters of DOS.
        with suppress(UnicodeError):
            given = given.encode("cp437").decode()
    return given.replace("\\", "/")  # as some programs for Windows write it
