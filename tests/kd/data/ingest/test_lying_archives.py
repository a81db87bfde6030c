"""Archives that claim what they do not hold, or hold more than they say, are refused before memory is taken."""

import os
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from kd.data.ingest.containers import open_container
from kd.data.ingest.listing import BadSource
from tests.kd.data.ingest.bringing import FILES, bring, contents


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd.data.ingest.listing.GIB", 1 << 20)
    files = {f"cat/{number}.bmp": bytes(500_000) for number in range(4)}

    for kind in ("zip", "tar.gz", "tar.bz2", "tar.xz"):
        with pytest.raises(BadSource, match="more than 100 times its own size"):
            open_container(bring(tmp_path, kind, files))
    assert contents(bring(tmp_path, "tar", files)) == files


def directory_of(content: bytes) -> int:
    return content.index(b"PK\x01\x02")


def test_zip_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    content = bring(tmp_path, "zip", {"cat/1.jpg": os.urandom(900), "cat/2.jpg": os.urandom(9)}).read_bytes()
    first = directory_of(content)
    second = content.index(b"PK\x01\x02", first + 1)
    # The second file begins where the first does.
    spoilt = content[: second + 42] + content[first + 42 : first + 46] + content[second + 46 :]
    (tmp_path / "a.zip").write_bytes(spoilt)

    with pytest.raises(BadSource, match="lies over another of its files"):
        open_container(tmp_path / "a.zip")


@pytest.mark.parametrize("field", [10, 40])  # of the end of a zip: how many files, how long their list
def test_a_zip_that_lies_about_its_directory_costs_no_memory(tmp_path: Path, field: int) -> None:
    content = bytearray(bring(tmp_path, "zip", FILES).read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + (10 if field == 10 else 12) : end + (12 if field == 10 else 16)] = b"\xfe" * (2 if field == 10 else 4)
    (tmp_path / "a.zip").write_bytes(content)

    tracemalloc.start()
    with suppress(BadSource):
        assert contents(tmp_path / "a.zip") == FILES
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_a_zip_member_that_claims_what_its_bytes_cannot_hold_is_refused(tmp_path: Path) -> None:
    content = bytearray(bring(tmp_path, "zip", {"cat/1.jpg": b"few"}).read_bytes())
    place = directory_of(bytes(content)) + 24
    content[place : place + 4] = struct.pack("<I", 900_000_000)
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(BadSource, match=r"'cat/1.jpg' claims 900,000,000 bytes"):
        open_container(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("method", "why"),
    [(zipfile.ZIP_BZIP2, "compressed by method 12; zip it again"), (zipfile.ZIP_LZMA, "by method 14")],
)
def test_a_zip_compressed_in_an_unusual_way_is_refused(tmp_path: Path, method: int, why: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("cat/1.jpg", bytes(100))

    with pytest.raises(BadSource, match=why):
        open_container(tmp_path / "a.zip")


def test_a_member_without_a_name_is_left_out(tmp_path: Path) -> None:
    content = bytearray(bring(tmp_path, "zip", {"?": b"2", "cat/1.jpg": b"1"}).read_bytes())
    for place in (26, directory_of(bytes(content)) + 28):
        content[place : place + 4] = struct.pack("<HH", 0, 1)  # what was its name is another field now
    (tmp_path / "a.zip").write_bytes(content)

    assert contents(tmp_path / "a.zip") == {"cat/1.jpg": b"1"}


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(bring(tmp_path, "zip", FILES).read_bytes())
    content[directory_of(bytes(content)) + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(BadSource, match="is encrypted; pack it again without a password"):
        open_container(tmp_path / "a.zip")


def header(name: str, size: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        header("cat/1.jpg", 8_000_000_000, tarfile.GNUTYPE_LONGNAME) + bytes(2_000),
        header("cat/1.jpg", 8_000_000_000, tarfile.XHDTYPE) + bytes(2_000),
        header("cat/1.jpg", -512, tarfile.REGTYPE) * 3,
        (header("cat/1.jpg", 1, tarfile.GNUTYPE_LONGNAME) + b"a".ljust(512, b"\0")) * 3_000,
        header("cat/1.jpg", 8_000_000_000, tarfile.REGTYPE) + bytes(2_000),
    ],
    ids=["long name", "pax", "backward", "nested", "large"],
)  # fmt: skip
def test_a_tar_of_lying_headers_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    tracemalloc.start()
    with pytest.raises(BadSource, match="it is damaged"):
        open_container(tmp_path / "a.tar")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000_000
