"""Folders, zips and tars give the same files, and whatever is hostile in one is refused in words, by name."""

import bz2
import io
import os
import struct
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kd.data.ingest.containers import open_container
from kd.data.ingest.listing import BadSource, Limits
from tests.kd.data.ingest.bringing import KINDS, add, bring, contents

FILES = {
    "pets/cat/1.jpg": b"one" * 1_000,
    "pets/cat/naïve.jpg": os.urandom(3_000),
    "pets/dog/sub/2.jpg": b"",
    "pets/" + "long/" * 12 + "3.jpg": b"three",
}
LITTER = {"__MACOSX/pets/cat/._1.jpg": b"?", "pets/.DS_Store": b"?", "pets/cat/Thumbs.db": b"?", ".hidden/4.jpg": b"?"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_the_files_that_are_in_it_but_not_what_file_managers_leave(
    tmp_path: Path, kind: str
) -> None:
    path = bring(tmp_path, kind, {**LITTER, **FILES})
    before = sorted(tmp_path.rglob("*"))

    container = open_container(path)

    assert list(container.entries) == sorted((name, len(content)) for name, content in FILES.items())
    assert dict(container.read(FILES)) == FILES
    assert [name for name, _ in container.read(["pets/cat/1.jpg"])] == ["pets/cat/1.jpg"]
    assert sorted(tmp_path.rglob("*")) == before


def test_names_are_what_they_were_meant_to_be(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(unicodedata.normalize("NFD", "café/1.jpg"), b"1")  # as macOS takes letters apart
        archive.writestr("dog\\2.jpg", b"2")  # as .NET once wrote it
        archive.writestr("./kuh//3.jpg", b"3")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # and as macOS forgets to say that it is UTF-8
        content[content.index(mark) + flags + 1] &= ~8
    (tmp_path / "a.zip").write_bytes(content)

    assert contents(tmp_path / "a.zip") == {"café/1.jpg": b"1", "dog/2.jpg": b"2", "kuh/3.jpg": b"3"}


def test_a_tar_may_be_compressed_in_several_pieces(tmp_path: Path) -> None:
    content = bring(tmp_path, "tar", FILES).read_bytes()
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(content[:700]) + bz2.compress(content[700:]))

    assert contents(tmp_path / "a.tar.bz2") == FILES


def test_one_compressed_member_after_the_other_stays_out_of_memory(tmp_path: Path) -> None:
    files = {f"cat/{number}.bmp": bytes(1_000_000) for number in range(30)}
    paths = [bring(tmp_path, kind, files) for kind in ("zip", "tar.gz", "tar.xz")]

    tracemalloc.start()
    for path in paths:
        container = open_container(path)
        assert sum(len(content) for _, content in container.read(files)) == 30_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16_000_000  # the window of xz, and two files


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["../../evil.jpg"], r"the name '../../evil.jpg' leads out of it; pack the files again"),
        (["cat/../../evil.jpg"], "leads out of it"),
        (["/etc/passwd.jpg"], "is absolute"),
        (["C:/evil.jpg"], "is absolute"),
        (["cat/\x1b[2J.jpg"], r"holds U\+001B; rename"),
        (["cat/\u202egpj.exe"], r"holds U\+202E"),
        (["cat/1.jpg", "cat/1.jpg"], "it holds 'cat/1.jpg' twice"),
        (["cat/1.jpg", "cat//./1.jpg"], "it holds 'cat/1.jpg' twice"),
        (["Cat/1.jpg", "cat/2.jpg"], "'Cat' and 'cat' differ in upper and lower case alone"),
        (["cat/1.JPG", "cat/1.jpg"], "differ in upper and lower case alone"),
        (["cat", "cat/1.jpg"], "'cat' is a file and a folder in it"),
        (["cat/1.jpg", "cat"], "'cat' is a file and a folder in it"),
        (["cat/1.jpg", "train.zip"], "'train.zip' is an archive in it, which is not opened: unpack it"),
        (["a" * 501], "has 501 characters"),
        (["a/" * 17 + "1.jpg"], "lies in 17 folders, one within the other"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_harms_or_misleads_is_refused(tmp_path: Path, kind: str, names: list[str], why: str) -> None:
    path = tmp_path / "a"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"?")
    else:
        with tarfile.open(path, "w:gz") as tape:
            for name in names:
                add(tape, name, b"?")

    with pytest.raises(BadSource, match=why):
        open_container(path)


@pytest.mark.parametrize("kind", KINDS)
def test_more_files_than_are_taken_are_refused(tmp_path: Path, kind: str) -> None:
    path = bring(tmp_path, kind, {f"cat/{number}.jpg": b"?" for number in range(50)})

    with pytest.raises(BadSource, match="holds more than 49 files"):
        open_container(path, Limits(files=49))


def test_folders_count_as_files_do(tmp_path: Path) -> None:
    path = bring(tmp_path, "zip", {f"{number}/a/b/1.jpg": b"?" for number in range(10)})

    assert len(open_container(path, Limits(files=40)).entries) == 10
    with pytest.raises(BadSource, match="holds more than 39 files"):
        open_container(path, Limits(files=39))


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_file_is_refused_when_it_is_to_be_read(tmp_path: Path, kind: str) -> None:
    container = open_container(
        bring(tmp_path, kind, {"cat/1.jpg": bytes(1_001), "cat/2.jpg": bytes(1_000)}), Limits(file_bytes=1_000)
    )

    assert [name for name, _ in container.read(["cat/2.jpg"])] == ["cat/2.jpg"]
    with pytest.raises(BadSource, match=r"'cat/1.jpg' is larger than 1,000 bytes"):
        list(container.read(["cat/1.jpg"]))


# -- members that are no files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "no file that is known"),
    ],
)
def test_a_member_of_a_tar_that_is_no_file_is_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tape:
        add(tape, "cat/1.jpg", kind=kind, link="/etc/passwd")

    with pytest.raises(BadSource, match=f"'cat/1.jpg' is {what}; only ordinary files are taken"):
        open_container(tmp_path / "a.tar")


@pytest.mark.parametrize(("mode", "what"), [(0o120777, "a link"), (0o010644, "a pipe"), (0o060644, "a device")])
def test_a_member_of_a_zip_that_is_no_file_is_refused(tmp_path: Path, mode: int, what: str) -> None:
    info = zipfile.ZipInfo("cat/1.jpg")
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")

    with pytest.raises(BadSource, match=f"'cat/1.jpg' is {what}"):
        open_container(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("make", "what"), [(lambda path: path.symlink_to("/etc"), "a link"), (lambda path: os.mkfifo(path), "a pipe")]
)
def test_what_is_no_file_in_a_folder_is_refused(tmp_path: Path, make: Callable[[Path], object], what: str) -> None:
    (tmp_path / "cat").mkdir()
    make(tmp_path / "cat" / "1.jpg")

    with pytest.raises(BadSource, match=f"'cat/1.jpg' is {what}"):
        open_container(tmp_path)


def test_a_link_that_took_a_files_place_is_not_followed(tmp_path: Path) -> None:
    path = bring(tmp_path, "folder", {"cat/1.jpg": b"1"})
    container = open_container(path)
    (path / "cat/1.jpg").unlink()
    (path / "cat/1.jpg").symlink_to("/etc/passwd")

    with pytest.raises(OSError, match="symbolic link"):
        list(container.read(["cat/1.jpg"]))


# -- bombs -------------------------------------------------------------------------------------------------------


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


# -- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    path = bring(tmp_path, kind, FILES)
    content = path.read_bytes()

    whole = len(content.rstrip(b"\0"))  # a tar is filled up

    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * whole)])
        with pytest.raises(BadSource, match=r"pets\.\S+ makes no data set: it is damaged"):
            contents(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_is_seen(tmp_path: Path, kind: str) -> None:
    files = {"cat/1.jpg": os.urandom(20_000)}
    path = bring(tmp_path, kind, files)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    with pytest.raises(BadSource, match="it is damaged"):
        contents(path)


def test_a_tar_whose_middle_is_no_tar_does_not_end_there(tmp_path: Path) -> None:
    path = bring(tmp_path, "tar", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"pets/dog/sub/2.jpg")] ^= 1
    path.write_bytes(content)

    with pytest.raises(BadSource, match=r"damaged at 'pets/cat/naïve.jpg', .* \(what follows is no tar\)"):
        open_container(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "nothing of that"),
        (b"\x89PNG\r\n\x1a\n", "one image"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"hello, world " * 100, "nothing of that"),
    ],
)
def test_a_file_that_is_no_container_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(BadSource, match=f"bring a folder, a zip or a tar .* it is {what}"):
        open_container(tmp_path / "a")


SMALL = {"cat/1.jpg": b"one" * 40, "dog/2.jpg": os.urandom(100)}


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("brought")
    return {kind: bring(place, kind, SMALL).read_bytes() for kind in KINDS[1:]}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS[1:]),
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    cut=st.floats(0.5, 1.0),
)
def test_a_spoilt_archive_is_read_or_refused_in_words(
    brought: dict[str, bytes], tmp_path: Path, kind: str, places: list[tuple[float, bytes]], cut: float
) -> None:
    content = bytearray(brought[kind])
    for place, harm in places:
        at = int(place * (len(content) - len(harm)))
        content[at : at + len(harm)] = harm
    (tmp_path / "a").write_bytes(content[: int(cut * len(content))])

    try:
        found = contents(tmp_path / "a", Limits(files=100))
    except BadSource:
        return
    assert all(len(content) <= io.DEFAULT_BUFFER_SIZE for content in found.values())
