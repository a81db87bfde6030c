"""Data sets are cut the same way for everyone, and say what is missing when they cannot be read."""

import gzip
import hashlib
import http.server
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kd import catalog, data, sources
from kd.errors import DataError
from kd.models.torchvision_import import torchvision_models
from kd.sources import Published

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder that the tests share, so that mnist5k is parsed once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def offline(monkeypatch):
    """No download can succeed."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", NOWHERE)
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", NOWHERE)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")


def rows(split: data.Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def shares(labels: Tensor) -> list[float]:
    return (torch.bincount(labels, minlength=10) / len(labels)).tolist()


# -- splits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "sizes"), [("mnist5k", (3600, 400, 1000)), ("digits", (1295, 143, 359))])
def test_bundled_data_is_there_without_a_download(name, sizes, folder):
    dataset = data.load(name, folder, 0.1)
    facts = catalog.DATASETS[name]

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == sizes
    assert sum(sizes) == facts.train
    assert dataset.shape == facts.shape
    assert len(dataset.classes) == facts.classes
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_splits_share_no_image_and_lose_none(name, folder):
    dataset = data.load(name, folder, 0.2)
    train, validation, test = rows(dataset.train), rows(dataset.validation), rows(dataset.test)

    # Both data sets hold each image once, so that sets of pixels tell.
    assert len(train) + len(validation) + len(test) == catalog.DATASETS[name].train
    assert len(train | validation | test) == catalog.DATASETS[name].train


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_every_split_has_every_class_in_its_share(name, folder):
    dataset = data.load(name, folder, 0.1)

    for split in (dataset.validation, dataset.test):
        assert shares(split.labels) == pytest.approx(shares(dataset.train.labels), abs=0.01)


def test_the_test_split_does_not_depend_on_the_size_of_the_validation_split(folder):
    small, large = (data.load("digits", folder, fraction) for fraction in (0.05, 0.4))

    assert torch.equal(small.test.images, large.test.images)
    assert rows(small.validation) < rows(large.validation)


def test_loading_twice_gives_the_same_whatever_the_seed(folder):
    torch.manual_seed(1)
    once = data.load("digits", folder, 0.1)
    torch.manual_seed(2)
    again = data.load("digits", folder, 0.1)

    assert once.digest == again.digest
    assert torch.equal(once.validation.images, again.validation.images)


def test_a_digest_is_the_same_in_every_process_and_version(folder):
    code = "from pathlib import Path; from kd import data; print(data.load('digits', Path('unused'), 0.1).digest)"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    digest = data.load("digits", folder, 0.1).digest
    assert answer.stdout.strip() == digest
    assert digest == "375eb2bc150df529d2ed2135fd07dbbded74506dfa79b982e8439d8531ba3b52"


def test_another_cut_has_another_digest(folder):
    assert data.load("digits", folder, 0.1).digest != data.load("digits", folder, 0.2).digest


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_the_catalog_knows_mean_and_deviation(name, folder):
    dataset = data.load(name, folder, 0.1)

    assert (dataset.train.images / 255).mean().item() == pytest.approx(dataset.mean[0], abs=0.002)
    assert (dataset.train.images / 255).std().item() == pytest.approx(dataset.std[0], abs=0.002)


# -- mnist5k is parsed once --------------------------------------------------------------------------------------


def test_mnist5k_is_kept_in_the_folder_in_a_form_that_loads_at_once(folder):
    first = data.load("mnist5k", folder, 0.1)
    before = time.perf_counter()
    second = data.load("mnist5k", folder, 0.1)

    assert time.perf_counter() - before < 0.5  # a second or more when parsed
    assert first.digest == second.digest
    assert os.listdir(folder) == ["mnist5k.npz"]


@pytest.mark.parametrize("harm", ["truncated", "overwritten", "of another kind"])
def test_a_damaged_copy_of_mnist5k_is_made_anew(harm, folder, tmp_path):
    digest = data.load("mnist5k", folder, 0.1).digest
    content = (folder / "mnist5k.npz").read_bytes()
    harmed = {
        "truncated": content[: len(content) // 2],
        "overwritten": content[:5000] + bytes(5000) + content[10_000:],
        "of another kind": pickle.dumps([1, 2, 3]),
    }
    (tmp_path / "mnist5k.npz").write_bytes(harmed[harm])

    assert data.load("mnist5k", tmp_path, 0.1).digest == digest
    assert len((tmp_path / "mnist5k.npz").read_bytes()) == len(content)


def test_mnist5k_loads_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a file").touch()

    assert len(data.load("mnist5k", tmp_path / "a file", 0.1).test) == 1000


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
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if packed:
            (place / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (place / name).write_bytes(content)


@pytest.mark.parametrize(("name", "place"), [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")])
def test_idx_files_are_read_packed_and_unpacked(name, place, tmp_path):
    files = idx_files()
    put(files, tmp_path / "packed" / place, packed=True)
    put(files, tmp_path / "unpacked" / place, packed=False)

    packed, unpacked = (data.load(name, tmp_path / form, 0.1) for form in ("packed", "unpacked"))

    assert packed.digest == unpacked.digest
    assert (len(packed.train), len(packed.validation), len(packed.test)) == (180, 20, 50)
    assert packed.test.images[0].numpy().tobytes() == files["t10k-images-idx3-ubyte"][16 : 16 + 784]
    assert packed.test.labels.tolist() == [index % 10 for index in range(50)]


def test_idx_files_are_read_where_torchvision_unpacked_them(tmp_path):
    put(idx_files(), tmp_path / "MNIST/raw", packed=False)
    torchvision_models()
    from torchvision.datasets import MNIST

    theirs, ours = MNIST(tmp_path, train=False), data.load("mnist", tmp_path, 0.1)

    assert torch.equal(theirs.data[:, None], ours.test.images)
    assert torch.equal(theirs.targets, ours.test.labels)


def test_the_published_test_split_stays_and_validation_is_cut_from_train(tmp_path):
    put(idx_files(), tmp_path / "MNIST/raw", packed=False)

    dataset = data.load("mnist", tmp_path, 0.25)

    assert shares(dataset.validation.labels) == shares(dataset.train.labels)
    assert len(rows(dataset.train) | rows(dataset.validation)) == 200


def test_a_missing_file_is_named_with_the_place_where_it_belongs(tmp_path, offline):
    files = idx_files()
    del files["t10k-labels-idx1-ubyte"]
    put(files, tmp_path / "MNIST/raw", packed=True)

    with pytest.raises(DataError) as caught:
        data.load("mnist", tmp_path, 0.1)

    assert "mnist" in str(caught.value)
    assert f"t10k-labels-idx1-ubyte.gz is not in {tmp_path / 'MNIST/raw'}" in str(caught.value)
    assert "refused" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mnist", "train-images-idx3-ubyte.gz"),
        ("fashion_mnist", "train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
    ],
)
def test_without_files_and_network_a_data_set_says_what_to_put_where(name, wanted, tmp_path, offline):
    before = time.perf_counter()

    with pytest.raises(DataError) as caught:
        data.load(name, tmp_path / "data", 0.1)

    assert wanted in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)
    assert "by hand" in str(caught.value)
    assert time.perf_counter() - before < 5
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda content: content[:-1], "bytes instead of"),
        (lambda content: content + b"!", "bytes instead of"),
        (lambda content: b"PK" + content[2:], "no idx file"),
        (lambda content: content[:7], "within its header"),
        (lambda content: b"", "no idx file"),
    ],
)
def test_a_damaged_idx_file_is_named(harm, why, tmp_path):
    files = idx_files()
    files["train-images-idx3-ubyte"] = harm(files["train-images-idx3-ubyte"])
    put(files, tmp_path / "MNIST/raw", packed=False)

    with pytest.raises(DataError, match=f"train-images-idx3-ubyte is damaged .*{why}"):
        data.load("mnist", tmp_path, 0.1)


def test_a_truncated_packed_file_is_named(tmp_path):
    put(idx_files(), tmp_path / "MNIST/raw", packed=True)
    path = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        data.load("mnist", tmp_path, 0.1)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    files = idx_files() | {"train-labels-idx1-ubyte": idx(np.zeros(7, np.uint8))}
    put(files, tmp_path / "MNIST/raw", packed=False)

    with pytest.raises(DataError, match="do not belong together"):
        data.load("mnist", tmp_path, 0.1)


def test_labels_beyond_the_classes_are_refused(tmp_path):
    files = idx_files() | {"train-labels-idx1-ubyte": idx(np.arange(200, dtype=np.uint8) % 11)}
    put(files, tmp_path / "MNIST/raw", packed=False)

    with pytest.raises(DataError, match="a label 10, but only 10 classes"):
        data.load("mnist", tmp_path, 0.1)


# -- CIFAR -------------------------------------------------------------------------------------------------------


def written_by_python_2(images: np.ndarray, labels: list[int], key: bytes) -> bytes:
    """A batch of CIFAR as it was published: a pickle by Python 2, whose strings are bytes."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(content)) + content

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    shape = number(images.shape[0]) + number(images.shape[1]) + b"\x86"
    empty = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    )
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = empty + b"(" + number(1) + shape + dtype + b"\x89" + text(images.tobytes()) + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key) + listed + b"u."


def cifar100_files(names: list[str]) -> dict[str, bytes]:
    random = np.random.default_rng(0)
    meta = {"fine_label_names": names}
    return {
        "cifar-100-python/train": written_by_python_2(
            random.integers(0, 256, (5, 3072), np.uint8), [0, 1, 0, 1, 1], b"fine_labels"
        ),
        "cifar-100-python/test": written_by_python_2(
            random.integers(0, 256, (2, 3072), np.uint8), [1, 0], b"fine_labels"
        ),
        "cifar-100-python/meta": pickle.dumps(meta, protocol=2),
    }


def tar(files: dict[str, bytes]) -> bytes:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return packed.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_is_read_from_its_archive_and_unpacked(packed, tmp_path):
    files = cifar100_files(["apple", "bear"])
    if packed:
        (tmp_path / "cifar.tar.gz").write_bytes(tar(files))
    else:
        (tmp_path / "cifar-100-python").mkdir()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
    published = Published("", {"cifar.tar.gz": "unused"}, ())

    source = sources.cifar("cifar100", published, {name: md5(content) for name, content in files.items()}, tmp_path)

    pixels = np.random.default_rng(0).integers(0, 256, (5, 3072), np.uint8)
    assert source.images.shape == (7, 3, 32, 32)
    assert source.images[3, 1, 0, 31] == pixels[3, 1024 + 31]  # red, green and blue planes, each by rows
    assert source.labels.tolist() == [0, 1, 0, 1, 1, 1, 0]
    assert source.classes == ("apple", "bear")


@pytest.mark.parametrize("packed", [True, False])
def test_a_pickle_that_was_not_published_is_never_opened(packed, tmp_path):
    trap = tmp_path / "sprung"
    content = f"cbuiltins\nopen\n(V{trap}\nVw\ntR.".encode()
    files = dict.fromkeys(sources.CIFAR100_MEMBERS, content)
    if packed:
        (tmp_path / "cifar-100-python.tar.gz").write_bytes(tar(files))
    else:
        (tmp_path / "cifar-100-python").mkdir()
        for name in files:
            (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match="cifar-100-python/train is not what was published"):
        data.load("cifar100", tmp_path, 0.1)

    assert not trap.exists()
    pickle.loads(content).close()
    assert trap.exists()  # it would have been sprung


def test_even_a_verified_pickle_may_only_make_arrays(tmp_path):
    trap = tmp_path / "sprung"

    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.open has no place"):
        sources.unpickled(f"cbuiltins\nopen\n(V{trap}\nVw\ntR.".encode())

    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", tar({"another": b"file"})[:-20], tar({"another": b"file"})])
def test_a_damaged_archive_is_named(content, tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)

    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is damaged"):
        data.load("cifar10", tmp_path, 0.1)


def test_the_files_and_checksums_are_those_of_torchvision():
    torchvision_models()
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST

    for theirs, ours in ((MNIST, sources.MNIST), (FashionMNIST, sources.FASHION_MNIST)):
        assert dict(theirs.resources) == ours.md5
        assert ours.subfolder == f"{theirs.__name__}/raw"
    assert tuple(FashionMNIST.classes) == sources.CLOTHES
    for theirs, ours, members in (
        (CIFAR10, sources.CIFAR10, sources.CIFAR10_MEMBERS),
        (CIFAR100, sources.CIFAR100, sources.CIFAR100_MEMBERS),
    ):
        assert ours.md5 == {theirs.filename: theirs.tgz_md5}
        assert theirs.url == ours.mirrors[0] + theirs.filename
        listed = [*theirs.train_list, *theirs.test_list, (theirs.meta["filename"], theirs.meta["md5"])]
        assert members == {f"{theirs.base_folder}/{name}": checksum for name, checksum in listed}


# -- downloads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch) -> Iterator[str]:
    """A server of files: `good` is whole, `short` breaks off, `mute` never answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    enough = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind = self.path.split("/")[1]
            if kind == "mute":
                enough.wait(30)
                return
            if kind == "absent":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"contents" if kind == "good" else b"cont")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        http_server.daemon_threads = True
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        enough.set()
        http_server.shutdown()


def published(*mirrors: str, checksum: str = md5(b"contents")) -> Published:
    return Published("here", {"file.gz": checksum}, mirrors)


def test_a_download_appears_whole_and_the_next_mirror_is_tried(server, tmp_path):
    mirrors = (f"{server}/short/", f"{server}/absent/", f"{NOWHERE}/", f"{server}/good/")

    sources.download("it", published(*mirrors), tmp_path)

    assert os.listdir(tmp_path / "here") == ["file.gz"]
    assert (tmp_path / "here/file.gz").read_bytes() == b"contents"


@pytest.mark.parametrize(
    ("kind", "why"), [("short", "not what was published"), ("absent", "Not Found"), ("mute", "timed out")]
)
def test_a_failed_download_leaves_nothing_behind(kind, why, server, tmp_path):
    with pytest.raises(DataError, match=why):
        sources.download("it", published(f"{server}/{kind}/"), tmp_path, timeout_seconds=0.5)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_download_with_the_wrong_checksum_leaves_nothing_behind(server, tmp_path):
    with pytest.raises(DataError, match="not what was published"):
        sources.download("it", published(f"{server}/good/", checksum="0" * 32), tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_there_is_not_downloaded_again(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").write_bytes(b"by hand")

    sources.download("it", published(f"{NOWHERE}/"), tmp_path)


def test_an_unknown_name_is_refused_with_the_nearest_ones(tmp_path):
    with pytest.raises(DataError, match="the nearest are mnist"):
        data.load("mnits", tmp_path, 0.1)


def test_every_data_set_of_the_catalog_has_a_source(folder, offline):
    for name, facts in catalog.DATASETS.items():
        with pytest.raises(DataError, match="by hand") if facts.download else nullcontext():
            data.load(name, folder, 0.1)
