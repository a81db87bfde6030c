"""Folders, zips and tars give the same files, and whatever is hostile in one is refused in words, by name."""

import bz2
import os
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kd.data.ingest.containers import open_container
from kd.data.ingest.listing import BadSource, Limits
from tests.kd.data.ingest.bringing import FILES, KINDS, add, bring, contents

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
