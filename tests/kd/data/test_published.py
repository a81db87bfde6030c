"""Files that were put there by hand are read as they were published; else it is said what belongs where."""

import pickle

import numpy as np
import pytest

from kd.data import published
from kd.data.dataset import load_dataset
from kd.errors import DataError
from tests.kd.data.contents import files_in, rows
from tests.kd.data.publishing import (
    CIFAR_FILES,
    NOWHERE,
    PIXELS,
    SMALL_ARCHIVE,
    idx,
    idx_files,
    put,
    small_cifar,
    tar,
)

# -- idx files put there by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "place"), [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")])
def test_idx_files_are_read_packed_and_unpacked(name, place, tmp_path, offline):
    files = idx_files()
    put(files, tmp_path / "packed" / place, packed=True)
    put(files, tmp_path / "unpacked" / place, packed=False)

    packed, unpacked = (load_dataset(name, tmp_path / form, 0.1) for form in ("packed", "unpacked"))

    assert packed.digest == unpacked.digest
    assert set(files) < set(files_in(tmp_path / "packed"))
    assert (len(packed.train), len(packed.validation), len(packed.test)) == (180, 20, 50)
    assert len(rows(packed.train) | rows(packed.validation)) == 200
    assert packed.test.images[0].numpy().tobytes() == files["t10k-images-idx3-ubyte"][16 : 16 + 784]
    assert packed.test.labels.tolist() == [index % 10 for index in range(50)]


def test_a_missing_file_is_named_with_the_place_where_it_belongs(tmp_path, offline):
    files = idx_files()
    del files["t10k-labels-idx1-ubyte"]
    put(files, tmp_path / "MNIST/raw", packed=True)

    with pytest.raises(DataError, match=r"data set mnist .*refused") as caught:
        load_dataset("mnist", tmp_path, 0.1)

    assert str(caught.value).endswith(f"Put t10k-labels-idx1-ubyte.gz into {tmp_path / 'MNIST/raw'} by hand.")


@pytest.mark.parametrize(
    ("name", "wanted", "place"),
    [
        ("mnist", "t10k-labels-idx1-ubyte.gz", "MNIST/raw"),
        ("fashion_mnist", "t10k-labels-idx1-ubyte.gz", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-python.tar.gz", ""),
        ("cifar100", "cifar-100-python.tar.gz", ""),
    ],
)
def test_without_files_and_network_a_data_set_says_what_to_put_where(name, wanted, place, tmp_path, offline, capfd):
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path / "data", 0.1)

    assert str(caught.value).endswith(f"{wanted} into {tmp_path / 'data' / place} by hand.")
    assert files_in(tmp_path) == []
    assert capfd.readouterr().out == ""


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        (IMAGES, lambda content: content[:-1]),
        (IMAGES, lambda content: b"PK" + content[2:]),
        (IMAGES, lambda content: b""),
        (IMAGES, lambda content: idx(np.zeros((200, 8, 8), np.uint8))),
        (LABELS, lambda content: idx(np.zeros(7, np.uint8))),
    ],
)
def test_damaged_files_are_told_with_what_to_put_in_their_place(name, harm, tmp_path):
    files = idx_files()
    put(files | {name: harm(files[name])}, tmp_path / "MNIST/raw", packed=False)

    with pytest.raises(DataError, match=rf"MNIST/raw are damaged .+Put {IMAGES}\.gz, .* there by hand"):
        load_dataset("mnist", tmp_path, 0.1)


def test_a_truncated_packed_file_is_named_and_not_unpacked(tmp_path):
    put(idx_files(), tmp_path / "MNIST/raw", packed=True)
    path = tmp_path / f"MNIST/raw/{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(DataError, match=rf"{IMAGES}\.gz cannot be unpacked \(Compressed file ended"):
        load_dataset("mnist", tmp_path, 0.1)

    assert files_in(tmp_path) == sorted(f"{name}.gz" for name in idx_files())


def test_labels_beyond_the_classes_are_refused(tmp_path):
    put(idx_files() | {LABELS: idx(np.arange(200, dtype=np.uint8) % 11)}, tmp_path / "MNIST/raw", packed=False)

    with pytest.raises(DataError, match="a label 10, but only 10 classes"):
        load_dataset("mnist", tmp_path, 0.1)


# -- CIFAR -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpacked", [[], ["train", "test"], ["train", "test", "meta"]])
def test_cifar_is_read_from_its_archive_unless_it_was_unpacked_to_its_end(unpacked, tmp_path, offline):
    (tmp_path / "cifar-100-python").mkdir()
    for name in unpacked:
        (tmp_path / "cifar-100-python" / name).write_bytes(CIFAR_FILES[name])
    if len(unpacked) < 3:
        (tmp_path / "cifar.tar.gz").write_bytes(SMALL_ARCHIVE)

    source = published.cifar("cifar100", small_cifar(NOWHERE), tmp_path)

    assert source.images.shape == (5, 3, 32, 32)
    assert source.images.flags.c_contiguous
    assert source.images[3, 1, 0, 31] == PIXELS[3, 1024 + 31]  # red, green and blue planes, each by rows
    assert (source.labels.tolist(), source.labels.dtype) == ([0, 1, 1, 1, 0], np.int64)
    assert (source.classes, source.first_test) == (("apple", "bear"), 3)


@pytest.mark.parametrize("packed", [True, False])
def test_a_pickle_that_was_not_published_is_never_opened(packed, tmp_path, offline):
    trap = tmp_path / "sprung"
    content = f"cbuiltins\nopen\n(V{trap}\nVw\ntR.".encode()
    if packed:
        (tmp_path / "cifar-100-python.tar.gz").write_bytes(tar(dict.fromkeys(CIFAR_FILES, content)))
    else:
        (tmp_path / "cifar-100-python").mkdir()
        for name in CIFAR_FILES:
            (tmp_path / "cifar-100-python" / name).write_bytes(content)

    with pytest.raises(DataError, match=r"no whole copy .*Put cifar-100-python\.tar\.gz into"):
        load_dataset("cifar100", tmp_path, 0.1)

    assert not trap.exists()
    pickle.loads(content).close()
    assert trap.exists()  # it would have been sprung
