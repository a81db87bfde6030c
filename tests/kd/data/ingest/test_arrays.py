"""MNIST's idx files and CIFAR's binary version are data sets as they are published, or say what is wrong with them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kd.data import packed_images
from kd.data.ingest.add import add
from kd.data.packed_facts import PackedFacts
from kd.errors import KdError
from tests.kd.data.ingest.bringing import bring

NAME = "packed/mine"
CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.integers(0, 256, (30, 6, 5), np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)


def idx(array: NDArray[np.generic], kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


MNIST = {
    "train-images-idx3-ubyte": idx(IMAGES),
    "train-labels-idx1-ubyte": idx(LABELS),
    "t10k-images-idx3-ubyte": idx(IMAGES[:9] ^ 1),
    "t10k-labels-idx1-ubyte": idx(LABELS[:9]),
}


def added(
    place: Path, files: dict[str, bytes], kind: str = "folder", **options: object
) -> tuple[PackedFacts, list[str]]:
    told: list[str] = []
    facts = add(place / "data", NAME, bring(place, kind, files), tell=told.append, **options)  # type: ignore[arg-type]
    return facts, told


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_a_data_set(tmp_path: Path, kind: str, packed: bool) -> None:
    files = {f"raw/{name}{'.gz' if packed else ''}": gzip.compress(c) if packed else c for name, c in MNIST.items()}
    facts, told = added(tmp_path, files, kind, classes=["cat", "cow", "dog"])

    assert told[0].split(" is ")[1].startswith("understood as MNIST's idx: raw/train-images-idx3-ubyte")
    assert (facts.shape, facts.train, facts.test, facts.classes) == ((1, 6, 5), 30, 9, ("cat", "cow", "dog"))
    read = packed_images.read(tmp_path / "data", NAME)
    assert np.array_equal(read.images[..., 0], np.concatenate([IMAGES, IMAGES[:9] ^ 1]))
    assert read.labels.tolist() == [*LABELS, *LABELS[:9]]


def test_those_of_others_have_other_names_colours_or_labels(tmp_path: Path) -> None:
    colours = CHANCE.integers(0, 256, (30, 6, 5, 3), np.uint8)
    files = {
        "emnist-letters-train-images-idx4-ubyte": idx(colours),
        "emnist-letters-train-labels-idx1-ubyte": idx((LABELS + 1).astype(">i4"), 12),
    }
    facts, told = added(tmp_path, files | {f"{name}.gz": b"?" for name in files})

    assert (facts.shape, facts.train, facts.classes) == ((3, 6, 5), 30, ("1", "2", "3"))
    assert "The labels 1, 2, 3 are numbered from 0 to 2" in told[1]


def cifar(images_NCHW: NDArray[np.uint8], *labels_N: NDArray[np.uint8]) -> bytes:
    return np.column_stack([*labels_N, images_NCHW.reshape(len(images_NCHW), -1)]).tobytes()


@pytest.mark.parametrize("coarse", [False, True])
def test_the_binary_version_of_cifar_is_a_data_set(tmp_path: Path, coarse: bool) -> None:
    images = CHANCE.integers(0, 256, (36, 3, 32, 32), np.uint8)
    labels = (np.arange(36) % 3).astype(np.uint8)
    first, second, test = (
        cifar(images[part], *([labels[part] * 0] if coarse else []), labels[part])
        for part in (slice(0, 15), slice(15, 30), slice(30, 36))
    )
    if coarse:
        files = {"train.bin": first + second, "test.bin": test, "coarse_label_names.txt": b"pet\n"}
    else:
        files = {"data_batch_1.bin": first, "data_batch_2.bin": second, "test_batch.bin": test}
    names = "fine_label_names.txt" if coarse else "batches.meta.txt"
    facts, told = added(
        tmp_path, {f"cifar/{n}": c for n, c in {**files, names: b"cat\ncow\ndog\n\n"}.items()}, "tar.gz"
    )

    assert "understood as CIFAR-100" in told[0] if coarse else "understood as CIFAR-10's" in told[0]
    assert (facts.shape, facts.train, facts.test, facts.classes) == ((3, 32, 32), 30, 6, ("cat", "cow", "dog"))
    read = packed_images.read(tmp_path / "data", NAME)
    assert np.array_equal(read.images, images.transpose(0, 2, 3, 1))
    assert read.labels.tolist() == labels.tolist()


IMAGE, LABEL = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BATCHES = {"data_batch_1.bin": bytes(3_073), "test_batch.bin": bytes(3_073)}


@pytest.mark.parametrize(
    ("files", "options", "why"),
    [
        ({IMAGE: idx(IMAGES)}, {}, "to train-images-idx3-ubyte the labels are missing"),
        (MNIST | {IMAGE: idx(IMAGES)[:-1]}, {}, r"train-images\S+ claims \(30, 6, 5\), and has 899 bytes"),
        (MNIST | {IMAGE: b"\0\0\x08\x03" + b"\xff" * 12 + b"?"}, {}, "claims .*, and has 1 bytes"),
        (MNIST | {IMAGE: b"\0\0"}, {}, "does not begin as an idx file"),
        (MNIST | {IMAGE: b"\0\0\x08\xff" + bytes(99)}, {}, "does not begin as an idx file"),
        (MNIST | {IMAGE: idx(IMAGES.astype(np.float32), 13)}, {}, "does not begin as an idx file of whole numbers"),
        (MNIST | {IMAGE: idx(LABELS)}, {}, r"holds uint8 of shape \(30,\), not images of 8 bits"),
        (MNIST | {LABEL: idx(LABELS[:9])}, {}, r"has \(9,\) labels for the 30 images"),
        ({"images-idx3-ubyte": b"", "labels-idx1-ubyte": b""}, {}, "does not say whether it is of train, t10k or test"),
        (MNIST | {f"emnist-{name}": c for name, c in MNIST.items()}, {}, "holds several data sets"),
        ({f"{name}.gz": gzip.compress(c)[:-9] for name, c in MNIST.items()}, {}, "is damaged, or was cut off"),
        (MNIST, {"size": 8}, "these are pixels, not photos in files"),
        (MNIST, {"classes": ["cat"]}, "there is a label 2, but only 1 classes"),
        (BATCHES | {"data_batch_1.bin": bytes(3_072)}, {}, r"has 3,072 bytes, which is no whole number of images"),
        (BATCHES | {"batches.meta.txt": b"cat dog"}, {"classes": ["dog", "cat"]}, "its classes have names"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused(tmp_path: Path, files: dict[str, bytes], options: dict[str, object], why: str) -> None:
    with pytest.raises(KdError, match=why):
        added(tmp_path, files, **options)


def test_a_packed_file_that_becomes_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd.data.ingest.arrays.MOST_BYTES", 900)

    with pytest.raises(KdError, match="unpacks to more than 900 bytes"):
        added(tmp_path, {f"{name}.gz": gzip.compress(content) for name, content in MNIST.items()})
