"""A tar of files, compressed or not, read from its beginning to its end."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kd.data.ingest.listing import Limits, Listing

BLOCK_BYTES = 1 << 16
# Of what tar says of a member ahead of it: long names, times, owners.
MOST_HEADER_BYTES = 1 << 16
# What xz needs at its highest level, and twice that.
MOST_DICTIONARY_BYTES = 1 << 27
END = bytes(512)
KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
FAILURES = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OverflowError, OSError),
    *(RecursionError, KeyError, IndexError),
)


class Tar:
    def __init__(self, path: Path, limits: Limits, method: str | None):
        self.source = path.name
        self._path, self._method, self._listing = path, method, Listing(path.name, limits)
        with self._open() as tape:
            for info in self._members(tape):
                if info.isdir():
                    self._listing.count()
                    self._listing.parts(info.name)
                elif not info.isreg() or info.issparse():
                    raise self._listing.refuse(info.name, KINDS.get(info.type, "no file that is known"))
                else:
                    self._listing.add(info.name, info.size)
            with self._explaining(None):
                tape.drain()  # to its end, where the checksum is compared
        self.entries = self._listing.finish()

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        with self._open() as tape:
            for info in self._members(tape):
                name = "/".join(self._listing.parts(info.name))
                if not info.isreg() or name not in wanted:
                    continue
                self._listing.refuse_large(name, info.size)
                with self._explaining(name):
                    content = tape.take(info.size)
                yield name, content
                wanted.remove(name)
                if not wanted:
                    return

    def _members(self, tape: "_Tape") -> Iterator[tarfile.TarInfo]:
        before = None
        with self._explaining(None):
            archive = tarfile.TarFile(fileobj=tape)  # type: ignore[arg-type]  # as much of a file as is needed
        while True:
            with self._explaining(before):
                info = archive.next()
                # The library would keep them all, and whatever headers say of all that follows.
                archive.members.clear()  # type: ignore[attr-defined]
                archive.pax_headers = {}
                if info is None and tape.last != END:
                    # The library takes a damaged header for the end.
                    raise EOFError("it has no end" if not tape.last else "what follows is no tar")
            if info is None:
                return
            before = info.name[:100]
            yield info

    @contextmanager
    def _open(self) -> Iterator["_Tape"]:
        with open(self._path, "rb") as file:
            most = self._listing.limits.most_from(os.path.getsize(self._path))
            unpacked: IO[bytes] | io.BufferedReader = file
            if self._method == "gz":
                unpacked = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
            elif self._method is not None:
                unpacked = io.BufferedReader(_Unpacked(file, self._method), BLOCK_BYTES)
            yield _Tape(unpacked, most, self._listing)

    @contextmanager
    def _explaining(self, name: str | None) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # it is not there any more, or may not be read
            raise self._listing.damaged(error, name) from error


class _Tape:
    """What the library asks of a file, going forward only: a header that leads back would be read for ever.

    It reads headers through here, and would take any size that they claim.
    """

    def __init__(self, file: "IO[bytes] | io.BufferedReader", most: int, listing: Listing):
        self._file, self._most, self._listing = file, most, listing
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise ValueError("a header leads back to where it came from")
        while self._position < position:
            if not self._read(min(BLOCK_BYTES, position - self._position)):
                raise EOFError("it breaks off")

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        self.last = self.take(size, whole=False)
        return self.last

    def take(self, size: int, *, whole: bool = True) -> bytes:
        """The next so many bytes, or what is left of them."""
        content = self._read(size)
        if whole and len(content) < size:
            raise EOFError("it breaks off")
        return content

    def drain(self) -> None:
        while self._read(BLOCK_BYTES):
            pass

    def _read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._position += len(content)
        if self._position > self._most:
            raise self._listing.too_large(f"more than {self._most:,} bytes")
        return content


class _Unpacked(io.RawIOBase):
    """What bzip2 and xz unpack to, with bounds that the files of Python's library do not have."""

    def __init__(self, file: IO[bytes], method: str):
        self._file, self._method = file, method
        self._decompressor = self._new()

    def _new(self) -> bz2.BZ2Decompressor | lzma.LZMADecompressor:
        if self._method == "bz2":
            return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_DICTIONARY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            data = b""
            if self._decompressor.eof:  # several one after the other are as good as one
                data = self._decompressor.unused_data.lstrip(b"\0")
                while not data:
                    if not (block := self._file.read(BLOCK_BYTES)):
                        return 0
                    data = block.lstrip(b"\0")  # with which xz fills up
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                data = self._file.read(BLOCK_BYTES)
                if not data:
                    raise EOFError("it breaks off")
            content = self._decompressor.decompress(data, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
