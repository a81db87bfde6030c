"""What makes no data set costs neither memory nor disk, with the limits that users have: measured from outside."""

import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.kd.data.ingest.bringing import add, bring
from tests.kd.data.ingest.photos import encoded, photo

pytestmark = pytest.mark.slow

PHOTO = encoded(photo(1), "JPEG")
GOOD = {f"{kind}/{n}.jpg": encoded(photo(10 * place + n), "JPEG") for place, kind in enumerate("ab") for n in range(4)}
TEN_GB = 10_000_000_000

# Kilobytes of memory beyond what the good photos took, and bytes written.
MOST_KILOBYTES, MOST_BYTES_WRITTEN = 100_000, 1_000_000

MEASURE = """
import json, resource, shutil, sys
from pathlib import Path
from kd.data.ingest.add import add
from kd.errors import KdError
def written():
    return next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("wchar"))
folder, good, *bad = map(Path, sys.argv[1:])
add(folder, "packed/good", good, size=16)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in bad:
    before = written()
    try:
        add(folder, "packed/bad", path, size=None if path.suffix == ".npz" else 16)
        why = None
    except KdError as error:
        why = str(error)
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    left = [each.name for each in (folder / "packed").iterdir() if each.name != "good"]
    print(json.dumps([path.parent.name, why, now - memory, written() - before, left]), flush=True)
    memory = now
"""


def zipped(place: Path, *files: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(place / "pets.zip", "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return place / "pets.zip"


def zeros(size: int) -> bytes:
    """So many of them, deflated; it takes as long as to write down what they become."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first * (size >> 26) + packer.flush()


def member(name: str, content: bytes, claims: int) -> bytes:
    """A zip of one deflated member that claims to become so large."""
    fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, len(content), claims)
    head = b"PK\x03\x04" + fields + struct.pack("<HH", len(name), 0) + name.encode()
    listed = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0)
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed) + len(name), len(head) + len(content), 0)
    return head + content + listed + name.encode() + b"PK\x05\x06" + end


def bomb(place: Path) -> Path:
    """Ten gigabytes that say what they are."""
    (place / "pets.zip").write_bytes(member("cat/1.bmp", zeros(4 << 30), 0xFFFFFFFE))
    return place / "pets.zip"


def lying_bomb(place: Path) -> Path:
    """Ten gigabytes that claim to be a photo."""
    (place / "pets.zip").write_bytes(member("cat/1.bmp", zeros(TEN_GB), 50_000_000))
    return place / "pets.zip"


def tar_bomb(place: Path) -> Path:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    info = tarfile.TarInfo("cat/1.bmp")
    info.size = TEN_GB
    head = packer.compress(info.tobuf(tarfile.GNU_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
    (place / "pets.tar.gz").write_bytes(head + block * (TEN_GB >> 26) + packer.flush())
    return place / "pets.tar.gz"


def overlapping(place: Path) -> Path:
    content = zipped(place, ("cat/1.jpg", PHOTO), ("cat/2.jpg", PHOTO)).read_bytes()
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 1)
    spoilt = content[: second + 42] + content[first + 42 : first + 46] + content[second + 46 :]
    (place / "pets.zip").write_bytes(spoilt)
    return place / "pets.zip"


def truncated(place: Path) -> Path:
    path = bring(place, "tar.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-400])
    return path


def broken_sums(place: Path) -> Path:
    path = zipped(place, *GOOD.items())
    content = bytearray(path.read_bytes())
    content[300] ^= 255  # within the first photo
    path.write_bytes(content)
    return path


def a_million(place: Path) -> Path:
    with zipfile.ZipFile(place / "pets.zip", "w") as archive:
        for number in range(1_000_000):
            archive.writestr(zipfile.ZipInfo(f"cat/{number}.jpg"), b"")
    return place / "pets.zip"


def a_million_in_a_tar(place: Path) -> Path:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with open(place / "pets.tar.gz", "wb") as file:
        for number in range(1_000_000):
            info = tarfile.TarInfo(f"cat/{number}.jpg")
            file.write(packer.compress(info.tobuf(tarfile.USTAR_FORMAT)))
        file.write(packer.compress(bytes(1_024)) + packer.flush())
    return place / "pets.tar.gz"


def linked(place: Path) -> Path:
    with tarfile.open(place / "pets.tar", "w") as tape:
        add(tape, "cat/1.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
    return place / "pets.tar"


def device(place: Path) -> Path:
    with tarfile.open(place / "pets.tar", "w") as tape:
        add(tape, "cat/1.jpg", kind=tarfile.CHRTYPE)
    return place / "pets.tar"


def claiming(width: int, height: int) -> bytes:
    """A PNG that claims so many pixels and has none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros(1 << 26)) + chunk(b"IEND", b"")


def photos(**spoilt: bytes) -> Callable[[Path], Path]:
    return lambda place: zipped(place, *GOOD.items(), *((f"a/{name}", content) for name, content in spoilt.items()))


def arrays(**given: object) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        np.savez(place / "pets.npz", **given)  # type: ignore[arg-type]
        return place / "pets.npz"

    return make


def header_of_arrays(shape: str) -> Callable[[Path], Path]:
    """Arrays that claim to be of this shape, in a compressed archive that claims nothing."""

    def make(place: Path) -> Path:
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        images = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(1_000)
        labels = io.BytesIO()
        np.save(labels, np.arange(10))
        with zipfile.ZipFile(place / "pets.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", images)
            archive.writestr("labels.npy", labels.getvalue())
        return place / "pets.npz"

    return make


def bytes_as(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).write_bytes(content)
        return place / name

    return make


def parquet(content: bytes) -> Callable[[Path], Path]:
    return bytes_as("pets.parquet", b"PAR1" + content + struct.pack("<I", len(content)) + b"PAR1")


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
LABELS = np.arange(20) % 2
ANIMATED = {"save_all": True, "append_images": [Image.fromarray(photo(9))]}

BAD: dict[str, Callable[[Path], Path]] = {
    "leads out": lambda place: zipped(place, *GOOD.items(), ("../../evil.jpg", PHOTO)),
    "absolute": lambda place: zipped(place, *GOOD.items(), ("/etc/evil.jpg", PHOTO)),
    "linked": linked,
    "device": device,
    "cases collide": lambda place: zipped(place, ("a/1.jpg", PHOTO), ("A/1.jpg", PHOTO)),
    "nested": lambda place: zipped(place, *GOOD.items(), ("more.zip", bytes(22))),
    "bomb": bomb,
    "lying bomb": lying_bomb,
    "tar bomb": tar_bomb,
    "overlapping": overlapping,
    "truncated": truncated,
    "a million": a_million,
    "a million in a tar": a_million_in_a_tar,
    "no archive": bytes_as("pets.zip", bytes(10_000)),
    "sums that are not theirs": broken_sums,
    "60,000 pixels square": photos(**{"9.png": claiming(60_000, 60_000)}),
    "pixels that do not come": photos(**{"9.png": claiming(9_000, 9_000)}),
    "cut off": photos(**{"9.jpg": PHOTO[:-300]}),
    "a drawing": photos(**{"9.svg.jpg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}),
    "an animation": photos(**{"9.webp": encoded(photo(8), "WEBP", **ANIMATED)}),
    "floats": photos(**{"9.tif": encoded((photo(8) / 255.0).astype(np.float32)[..., 0], "TIFF")}),
    "one class": lambda place: zipped(place, *((f"a/{n}.jpg", PHOTO) for n in range(9))),
    "a class of one image": lambda place: zipped(place, *GOOD.items(), ("c/1.jpg", PHOTO)),
    "objects": arrays(images=np.array([None] * 4, object), labels=LABELS[:4]),
    "floats in arrays": arrays(images=IMAGES / 255.0, labels=LABELS),
    "channels first": arrays(images=np.zeros((20, 3, 32, 48), np.uint8) + LABELS[:, None, None, None], labels=LABELS),
    "labels that are no numbers": arrays(images=IMAGES, labels=np.array(["a"] * 20, object)),
    "negative labels": arrays(images=IMAGES, labels=LABELS - 1),
    "labels too many": arrays(images=IMAGES, labels=np.arange(30)),
    "a pickle": bytes_as("pets.npz", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "4e9 images of nothing": header_of_arrays("(4000000000, 32, 32, 3)"),
    "parquet of nothing": parquet(b"\x15" * 5_000),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[str, list]:
    """Of each: why it was refused, kilobytes of memory, bytes written, and what was left, all in one process."""
    place = tmp_path_factory.mktemp("bad")
    good, paths = bring(place / "good", "zip", GOOD), []
    for name, make in BAD.items():
        folder = place / name
        folder.mkdir()
        paths.append(make(folder))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, place / "data", good, *paths], capture_output=True, text=True, check=True
    )
    return {name: facts for name, *facts in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", list(BAD))
def test_it_is_refused_in_words_and_costs_neither_memory_nor_disk(measured, name):
    why, kilobytes, written, left = measured[name]

    assert why
    assert len(why) < 1_000
    assert "Traceback" not in why
    assert kilobytes < MOST_KILOBYTES, why
    assert written < MOST_BYTES_WRITTEN, why
    assert left == []
