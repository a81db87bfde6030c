"""What pages claim to become is read before they are unpacked, and is what Parquet's own reader finds."""

import io
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.data.ingest.pages import BadPage, Header, Page, pages

TABLE = pa.table(
    {
        "number": pa.array([*range(3_000)]),
        "text": pa.array(["é" * (n % 7) for n in range(3_000)]),
        "few": pa.array([n % 3 == 0 or None for n in range(3_000)]),
        "image": pa.array([{"bytes": bytes([n % 250]) * 90, "path": None} for n in range(3_000)]),
        "list": pa.array([[n] * (n % 4) for n in range(3_000)]),
    }
)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_pages_of_each_column_come_to_what_the_footer_says(compression: str, version: str) -> None:
    file = io.BytesIO()
    pq.write_table(
        TABLE, file, compression=compression, data_page_version=version, data_page_size=2_000, row_group_size=1_000
    )
    metadata = pq.ParquetFile(file).metadata

    for group, column in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
        chunk = metadata.row_group(group).column(column)
        begin = chunk.dictionary_page_offset or chunk.data_page_offset
        found = list(pages(file, begin, begin + chunk.total_compressed_size))
        taken, unpacked = sum(page.taken for page in found), sum(page.unpacked for page in found)
        headers = chunk.total_compressed_size - taken
        assert 10 * len(found) < headers < 200 * len(found)
        assert unpacked + headers == chunk.total_uncompressed_size


@pytest.mark.parametrize("begin", [-1, 1 << 63])
def test_no_page_begins_outside_of_any_file(begin: int) -> None:
    with pytest.raises(BadPage, match=f"a page is to begin at byte {begin}"):
        list(pages(io.BytesIO(), begin, begin + 1))


def page(unpacked: int, taken: int, *more: bytes) -> bytes:
    """The header of one: its kind and its two sizes."""

    def number(value: int) -> bytes:
        value, found = value << 1, b""
        while value > 127:
            found, value = found + bytes([value & 127 | 128]), value >> 7
        return b"\x15" + found + bytes([value])

    return number(0) + number(unpacked) + number(taken) + b"\0" + b"".join(more)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (page(10, 5), "a page of 5 bytes is longer than what its column takes"),
        (page(10, (1 << 31) - 2), "a page of 2,147,483,646 bytes is longer than what its column takes"),
        (page(10, (1 << 62) - 2), "does not say how large it is"),
        (page(1 << 31, 4), "does not say how large it is"),
        (b"\x15\x00\x00", "does not say how large it is"),
    ],
)
def test_a_page_whose_sizes_cannot_be_is_refused(header: bytes, why: str) -> None:
    assert list(pages(io.BytesIO(page(9, 4) + b"data"), 0, len(page(9, 4)) + 4)) == [Page(4, 9)]

    with pytest.raises(BadPage, match=why):
        list(pages(io.BytesIO(header + b"data"), 0, len(header) + 4))


@given(st.binary(max_size=200))
def test_whatever_bytes_are_there_they_are_pages_or_none(content: bytes) -> None:
    try:
        found = list(pages(io.BytesIO(content), 0, len(content)))
    except BadPage:
        return
    assert all(isinstance(page, Page) and min(page) >= 0 for page in found)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no end"),
        (b"\x15", "has no end"),
        (b"\x15" + b"\xff" * 20, "a number without an end"),
        (b"\x1c" * 40, "structs in structs without an end"),
        (b"\x19\xf5" + b"\xff" * 8 + b"\x01", "has no end"),
        (b"\x1d\x00", "there is no header"),
    ],
)
def test_a_header_that_is_none_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BadPage, match=why):
        Header(content).struct()
