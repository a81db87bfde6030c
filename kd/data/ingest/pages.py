"""What the pages of a Parquet file claim to become, before any of them is unpacked.

Whoever unpacks a page makes room for as much as its header claims, which may be 2 GB. A header is a struct in Thrift's
compact protocol; of one only three numbers matter here (parquet.thrift, `PageHeader`: the size unpacked is its second
field, the size in the file its third).
"""

from collections.abc import Iterator
from typing import IO, NamedTuple

# More than the statistics of any page that is right.
MOST_HEADER_BYTES = 1 << 20
MOST_DEPTH = 16
FURTHEST = 1 << 62
MOST = (1 << 31) - 1
"""Of what a size may be; beyond that one reader takes it for another than the next does."""
UNPACKED, TAKEN = 2, 3
# Thrift's types.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class BadPage(ValueError):
    """Where a page should begin none does."""


class Page(NamedTuple):
    """How many bytes a page takes in its file without its header, and how many it claims to become."""

    taken: int
    unpacked: int


def pages(file: IO[bytes], begin: int, end: int) -> Iterator[Page]:
    """The pages of a column between two places in a file. Raises `BadPage`."""
    while begin < end:
        if not 0 <= begin < FURTHEST:
            raise BadPage(f"a page is to begin at byte {begin}")
        file.seek(begin)
        header = Header(file.read(min(MOST_HEADER_BYTES, end - begin)))
        numbers = header.struct()
        page = Page(numbers.get(TAKEN, -1), numbers.get(UNPACKED, -1))
        if not (0 <= page.taken <= MOST and 0 <= page.unpacked <= MOST):
            raise BadPage("a page does not say how large it is")
        begin += header.at + page.taken
        if begin > end:
            raise BadPage(f"a page of {page.taken:,} bytes is longer than what its column takes")
        yield page


class Header:
    """Bytes that begin with a struct."""

    def __init__(self, content: bytes):
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Its whole numbers by the numbers of their fields; all else is passed over."""
        if depth > MOST_DEPTH:
            raise BadPage("the header of a page has structs in structs without an end")
        found, field = dict[int, int](), 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            if kind in (I16, I32, I64):
                found[field] = self._signed()
            else:
                self._pass(kind, depth)
        return found

    def _pass(self, kind: int, depth: int, *, within: bool = False) -> None:
        if kind in (TRUE, FALSE):
            self.at += within  # of a field the type is the value
        elif kind == BYTE:
            self.at += 1
        elif kind in (I16, I32, I64):
            self._unsigned()
        elif kind == DOUBLE:
            self.at += 8
        elif kind == BINARY:
            length = self._unsigned()
            self.at += length
        elif kind in (LIST, SET):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._unsigned()):
                self._pass(head & 15, depth, within=True)
        elif kind == MAP:
            if count := self._unsigned():
                kinds = self._byte()
                for _ in range(count):
                    self._pass(kinds >> 4, depth, within=True)
                    self._pass(kinds & 15, depth, within=True)
        elif kind == STRUCT:
            self.struct(depth + 1)
        else:
            raise BadPage("there is no header of a page")
        if self.at > len(self._content):  # each step of a list takes a byte at least, so it ends here
            raise BadPage("the header of a page has no end")

    def _byte(self) -> int:
        if self.at >= len(self._content):
            raise BadPage("the header of a page has no end")
        self.at += 1
        return self._content[self.at - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number
            if shift > 63:
                raise BadPage("the header of a page has a number without an end")

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
