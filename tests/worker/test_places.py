"""Why a job failed is told without where on the server's disk its files are."""

import errno
import os
from pathlib import Path

import pytest
import torch

from jobs.files import layout
from jobs.queue.fence import Claim
from kd.data import packing
from kd.data.dataset import load_dataset
from kd.events import Failed
from kd.training.resuming import resume
from worker.children.failures import explain
from worker.recorder import Recorder


def packed(folder: Path) -> Path:
    images = torch.arange(48, dtype=torch.uint8).reshape(12, 2, 2, 1).numpy()
    packing.pack(folder, "packed/mine", [packing.Chunk(images, torch.arange(12).numpy() % 2)])
    return folder / "packed/mine"


def of_damaged_facts(folder: Path) -> None:
    (packed(folder) / "facts.json").write_text("{}")
    load_dataset("packed/mine", folder, 0.1)


def of_damaged_images(folder: Path) -> None:
    (packed(folder) / "images.npy").write_bytes(b"")
    load_dataset("packed/mine", folder, 0.1)


def of_a_damaged_published_file(folder: Path) -> None:
    place = folder / "MNIST/raw"
    place.mkdir(parents=True)
    for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (place / f"{file}-ubyte.gz").write_bytes(b"no gzip")
    load_dataset("mnist", folder, 0.1)


def of_a_missing_folder_for_torch(folder: Path) -> None:
    torch.save({}, folder / "missing" / "resume.pt")


def of_a_file_where_a_folder_should_be(folder: Path) -> None:
    (folder / "out").touch()
    (folder / "out" / "checkpoints").mkdir()


def of_a_disk_that_may_not_be_written(folder: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(folder / "out"))


def of_two_files(folder: Path) -> None:
    os.replace(folder / "one", folder / "two")


def of_a_resume_state(folder: Path) -> None:
    resume.load_position(folder / "missing.pt", None)


@pytest.mark.parametrize(
    "failure",
    [
        *(of_damaged_facts, of_damaged_images, of_a_damaged_published_file, of_a_missing_folder_for_torch),
        *(of_a_file_where_a_folder_should_be, of_a_disk_that_may_not_be_written, of_two_files, of_a_resume_state),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_no_ending_says_where_the_data_folder_is(tmp_path, failure, linked):
    real = tmp_path / "somewhere" / "data"
    real.mkdir(parents=True)
    (data_dir := tmp_path / "link").symlink_to(real)
    data_dir = data_dir if linked else real
    with pytest.raises(Exception) as caught:  # noqa: PT011  # each has its own
        failure(data_dir.resolve() if linked else data_dir)
    ending = explain(caught.value)
    recorder = Recorder(None, Claim("job", 1, "worker", {}, None, -1), data_dir, data_dir)

    recorder.hear(Failed(code=ending.code, message=ending.message, hint=ending.hint, retryable=ending.retryable))

    assert str(tmp_path) not in str(recorder.failure.stored())


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[Errno 13] Permission denied: '/srv/data/jobs/x/out'", "[Errno 13] Permission denied: 'jobs/x/out'"),
        ("Put a.gz into /srv/data/datasets/MNIST/raw by hand.", "Put a.gz into datasets/MNIST/raw by hand."),
        ("/srv/data cannot be read", "the data folder cannot be read"),
        ("/usr/lib/python3/torch/lib.so: no such symbol", "lib.so: no such symbol"),
        ("see https://pytorch.org/models/a.pth, or packed/mine, 4/5, /config", None),
    ],
)
def test_a_path_is_told_as_it_is_in_the_data_folder(said, shown):
    assert layout.without_places(said, Path("/srv/data")) == (shown or said)
