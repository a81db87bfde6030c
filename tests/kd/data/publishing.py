"""Small data sets in the forms in which MNIST and CIFAR are published."""

import gzip
import hashlib
import pickle
import struct
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np

from kd.machine.torchvision_import import torchvision_datasets

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def idx(array: np.ndarray) -> bytes:
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_files(train: int = 200, test: int = 50, seed: int = 0) -> dict[str, bytes]:
    """Contents of the four files of a data set in the form of MNIST, by name without `.gz`."""
    random = np.random.default_rng(seed)
    files = {}
    for prefix, count in (("train", train), ("t10k", test)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(random.integers(0, 256, (count, 28, 28), np.uint8))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return files


def put(files: dict[str, bytes], place: Path, *, packed: bool) -> None:
    """Write the files; packed ones get no time, so that their md5 is known."""
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content, mtime=0) if packed else content)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3072), np.uint8)
CIFAR_FILES = {
    "train": pickle.dumps({"data": PIXELS[:3], "fine_labels": [0, 1, 1]}),
    "test": pickle.dumps({"data": PIXELS[3:], "fine_labels": [1, 0]}),
    "meta": pickle.dumps({"fine_label_names": ["apple", "bear"]}),
}
CIFAR_MD5 = {name: md5(content) for name, content in CIFAR_FILES.items()}


def tar(files: dict[str, bytes]) -> bytes:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return packed.getvalue()


SMALL_ARCHIVE = tar(CIFAR_FILES)  # once, because gzip writes the time into it


def small_cifar(url: str) -> type:
    """torchvision's class for a small data set of the same form that was published at `url`."""
    published = {"url": url, "filename": "cifar.tar.gz", "tgz_md5": md5(SMALL_ARCHIVE)}
    lists = {f"{part}_list": [[part, CIFAR_MD5[part]]] for part in ("train", "test")}
    meta = {"filename": "meta", "key": "fine_label_names", "md5": CIFAR_MD5["meta"]}
    return type("SmallCifar", (torchvision_datasets().CIFAR100,), {**published, **lists, "meta": meta})
