"""Images in a file never have to fit in memory."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data import packing
from kd.data.dataset import load_dataset
from kd.data.packing import Chunk

LARGE = "packed/large"
SIDE, COPIES = 96, 12  # 1,797 digits, each 12 times: 21,564 images of 27,648 bytes

UNDER_A_CAP = """
    import resource, sys
    from pathlib import Path
    import torch
    from kd.data.dataset import load_dataset
    from kd.views import pixels
    torch.set_num_threads(1)
    train = load_dataset("packed/large", Path(sys.argv[1]), 0.1).train
    assert len(train) * 27_648 > 400_000_000
    (had,) = (int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (had * 1024 + 200_000_000,) * 2)
    if sys.argv[2] == "resident":
        pixels.Resident(train.source, 4, "cpu", train.rows)
    kept = pixels.place(train, 4, torch.device("cpu"))
    print(type(kept).__name__)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    kept.expect(order.split(64))
    total = sum(int(kept.padded(image_B)[0].sum(dtype=torch.int64)) for image_B in order.split(64))
    print(total)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Iterator[tuple[Path, int]]:
    """A folder with a packed data set of 600 MB, and the sum of all pixels of its training split."""
    folder = tmp_path_factory.mktemp("large")
    digits = load_dataset("digits", folder, 0.1)
    splits = (digits.train, digits.validation, digits.test)
    images_NHW = torch.cat([split.images for split in splits])[:, 0].numpy()
    labels_N = torch.cat([split.labels for split in splits]).numpy()
    large_NHWC = np.tile(images_NHW, (1, SIDE // 8, SIDE // 8))[..., None].repeat(3, axis=-1)
    packing.pack(folder, LARGE, (Chunk(large_NHWC, labels_N) for _ in range(COPIES)))
    train = load_dataset(LARGE, folder, 0.1).train
    sums_N = torch.from_numpy(large_NHWC.sum(axis=(1, 2, 3), dtype=np.int64))
    yield folder, int(sums_N[train.rows % len(sums_N)].sum())
    for path in (folder / LARGE).iterdir():
        path.unlink()


def under_a_cap(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(UNDER_A_CAP), str(folder), how]
    return subprocess.run(command, capture_output=True, text=True)


def test_an_epoch_of_600_MB_is_shown_with_200_MB_of_memory(large):
    folder, total = large

    ended = under_a_cap(folder, "placed")

    assert (ended.returncode, ended.stdout.split()) == (0, ["Streamed", str(total)]), ended.stderr


def test_200_MB_are_too_few_to_keep_them_all(large):
    ended = under_a_cap(large[0], "resident")

    assert ended.returncode != 0
    assert "can't allocate memory" in ended.stderr


WHOLE_RUN_UNDER_A_CAP = """
    import json, resource, sys
    from pathlib import Path
    import torch
    from kd.run import run
    from kd.spec import parse
    torch.set_num_threads(1)
    (had,) = (int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (had * 1024 + 450_000_000,) * 2)
    config = {"dataset": "packed/large", "teacher": {"arch": "cnn_small", "epochs": 1}, "epochs": 1, "views": 1,
              "student": {"arch": "cnn_small"}, "control": False, "augmentation": {"crop_padding": 2, "flip": True}}
    spec = parse(json.dumps({"mode": "train", "config": config}))
    resident = {"placed": None, "resident": 10**12}[sys.argv[2]]
    for event in run(spec, Path(sys.argv[1]) / sys.argv[2], data_folder=sys.argv[1], resident_bytes=resident):
        print(event.event)
"""


# The whole run takes most of a minute; that an epoch is shown so is in every run of the suite, above.
@pytest.mark.parametrize(("how", "ends"), [pytest.param("placed", True, marks=pytest.mark.slow), ("resident", False)])
def test_a_whole_run_trains_from_600_MB_with_450_MB_of_memory_unless_they_must_be_resident(large, how, ends):
    command = [sys.executable, "-c", textwrap.dedent(WHOLE_RUN_UNDER_A_CAP), str(large[0]), how]

    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.stdout.split()[-1:] == (["finished"] if ends else ["started"]), ended.stderr
    assert ends or "allocate memory" in ended.stderr
