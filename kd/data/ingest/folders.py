"""A folder of files. No link in it is followed."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from kd.data.ingest.listing import Limits, Listing, is_litter

KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class Folder:
    def __init__(self, path: Path, limits: Limits):
        self.source = path.resolve().name
        self._path, self._listing = path, Listing(self.source, limits)
        self._given: dict[str, str] = {}  # names may be other than in the file system, which has them as it likes
        self._walk()
        self.entries = self._listing.finish()

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            with self.open(name) as file:
                content = file.read(self._listing.limits.file_bytes + 1)
            self._listing.refuse_large(name, len(content))
            yield name, content

    def open(self, name: str) -> IO[bytes]:
        """One of them, to be read from anywhere in it."""
        # Somebody may have put a link or a pipe there since.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.fdopen(os.open(self._path / self._given[name], flags), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise self._listing.refuse(name, "no ordinary file any more")
        return file

    def _walk(self) -> None:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with os.scandir(self._path / folder) as found:
                for each in found:
                    given = f"{folder}{each.name}"
                    mode = each.stat(follow_symlinks=False).st_mode
                    if is_litter([each.name]):
                        self._listing.count()
                    elif stat.S_ISDIR(mode):
                        self._listing.count()
                        waiting.append(f"{given}/")
                    elif not stat.S_ISREG(mode):
                        raise self._listing.refuse(given, KINDS.get(stat.S_IFMT(mode), "a device"))
                    elif name := self._listing.add(given, each.stat().st_size):
                        self._given[name] = given
