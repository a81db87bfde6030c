"""A part of a file, as if it were one."""

import io
import os


class Window(io.RawIOBase):
    """So many bytes of an open file from a place in it on, or as many as there are; closing it closes nothing."""

    def __init__(self, descriptor: int, begin: int, size: int):
        self._descriptor, self._begin, self._size, self._at = descriptor, begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"there is nothing before the beginning: {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        most = max(0, min(len(buffer), self._size - self._at))
        content = os.pread(self._descriptor, most, self._begin + self._at)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
