"""Images are the same wherever they are kept, and those in a file never have to fit in memory."""

import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd.data import packing
from kd.data.dataset import load_dataset
from kd.data.packing import Chunk
from kd.data.splits import Split
from kd.errors import KdError
from kd.machine import memory
from kd.views import pixels
from kd.views.pixels import Resident, Streamed
from kd.views.read_ahead import DEPTH
from tests.support.waiting import wait_until

CPU = torch.device("cpu")
LAYOUTS = ["by plane", "by pixel", "some rows", "one channel"]


def some_images(count: int = 50, channels: int = 3, height: int = 6, width: int = 5) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=LAYOUTS)
def source(request) -> tuple[Tensor, Tensor | None]:
    """Images as they lie in memory or in a file, and which of them are meant."""
    images = some_images(channels=1 if request.param == "one channel" else 3)
    if request.param == "by pixel":
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), None
    return images, torch.arange(1, 50, 2) if request.param == "some rows" else None


@pytest.fixture
def streamed() -> Iterator[Streamed]:
    streamed = Streamed(some_images(), 2, CPU)
    yield streamed
    streamed.close()


def shown(kept: pixels.Pixels, image_B: Tensor) -> Tensor:
    padded_MHWC, index_B = kept.padded(image_B)
    return padded_MHWC[index_B]


def wanted(image_B: Tensor, padding: int = 2) -> Tensor:
    return F.pad(some_images()[image_B], [padding] * 4).permute(0, 2, 3, 1)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


# -- the same pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 2])
def test_every_image_is_there_with_zeros_around_it(source, padding):
    images, rows = source
    meant = images if rows is None else images[rows]
    image_B = torch.tensor([3, 0, len(meant) - 1, 3])

    for kept in (Resident(images, padding, CPU, rows), Streamed(images, padding, CPU, rows)):
        padded_MHWC, index_B = kept.padded(image_B)

        assert torch.equal(padded_MHWC[index_B], F.pad(meant[image_B], [padding] * 4).permute(0, 2, 3, 1))
        assert (padded_MHWC.dtype, index_B.dtype) == (torch.uint8, torch.int64)
        assert padded_MHWC.is_contiguous()
        assert (len(kept), kept.shape, kept.padding, kept.device) == (len(meant), meant.shape[1:], padding, CPU)


def test_announced_batches_are_the_same_in_any_order_and_epoch_after_epoch(streamed):
    for epoch in range(3):
        order = torch.randperm(50, generator=torch.Generator().manual_seed(epoch))
        streamed.expect(order.split(7))

        for image_B in order.split(7):
            assert torch.equal(shown(streamed, image_B), wanted(image_B))

    wait_until(lambda: readers() == [])  # the last thread has nothing left to read


def test_what_was_not_announced_is_right_too_and_what_was_stays_next(streamed):
    announced = torch.arange(50).split(5)
    streamed.expect(announced)

    for image_B in announced:
        other_B = 49 - image_B
        assert torch.equal(shown(streamed, other_B), wanted(other_B))
        assert torch.equal(shown(streamed, image_B), wanted(image_B))
        assert torch.equal(shown(streamed, image_B[:2]), wanted(image_B[:2]))


def test_after_the_last_announced_batch_one_may_go_on(streamed):
    streamed.expect([torch.arange(4)])

    for _ in range(3):
        assert torch.equal(shown(streamed, torch.arange(4)), wanted(torch.arange(4)))


def test_a_new_announcement_replaces_the_old_one(streamed):
    streamed.expect(torch.arange(50).split(2))
    assert torch.equal(shown(streamed, torch.tensor([0, 1])), wanted(torch.tensor([0, 1])))

    streamed.expect(torch.arange(50).flip(0).split(2))

    assert len(readers()) == 1
    for image_B in torch.arange(50).flip(0).split(2):
        assert torch.equal(shown(streamed, image_B), wanted(image_B))


def test_pixels_can_be_asked_for_in_inference_mode(streamed):
    streamed.expect([torch.arange(3)])

    with torch.inference_mode():
        announced, other = shown(streamed, torch.arange(3)), shown(streamed, torch.arange(3, 5))

    assert torch.equal(torch.cat([announced, other]), wanted(torch.arange(5)))


@pytest.mark.parametrize("image", [-1, 25])
def test_an_image_that_does_not_exist_is_refused(image):
    streamed = Streamed(some_images(), 2, CPU, torch.arange(25))

    with pytest.raises(IndexError, match="only 0 to 24"):
        streamed.padded(torch.tensor([0, image]))


@pytest.mark.gpu
@pytest.mark.parametrize("announced", [True, False])
def test_a_gpu_is_shown_the_same_pixels(source, announced):
    images, rows = source
    gpu = torch.device("cuda", torch.cuda.current_device())
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    streamed, resident = Streamed(images, 2, gpu, rows), Resident(images, 2, gpu, rows)
    if announced:
        streamed.expect(order.split(4))

    for image_B in order.split(4):
        streamed_BHWC, index_B = streamed.padded(image_B)
        assert (streamed_BHWC.device, index_B.device) == (gpu, gpu)
        assert torch.equal(streamed_BHWC[index_B], shown(resident, image_B))

    streamed.close()


# -- the thread that reads ahead ---------------------------------------------------------------------------------


def test_only_a_few_batches_are_read_ahead(streamed):
    drawn = []

    def batches() -> Iterator[Tensor]:
        for image_B in torch.arange(50).split(1):
            drawn.append(image_B)
            yield image_B

    streamed.expect(batches())

    wait_until(lambda: len(drawn) == DEPTH + 1)
    time.sleep(0.05)
    assert len(drawn) == DEPTH + 1  # of which one waits for room
    streamed.padded(torch.tensor([0]))
    wait_until(lambda: len(drawn) == DEPTH + 2)


def test_an_error_while_reading_ahead_is_told_to_whoever_asks_next_and_only_once(streamed):
    def batches() -> Iterator[Tensor]:
        yield torch.arange(2)
        raise OSError("the disk is gone")

    streamed.expect(batches())

    assert torch.equal(shown(streamed, torch.arange(2)), wanted(torch.arange(2)))
    with pytest.raises(OSError, match="the disk is gone"):
        streamed.padded(torch.arange(2, 4))
    assert torch.equal(shown(streamed, torch.arange(2)), wanted(torch.arange(2)))


@pytest.mark.parametrize("taken", [0, 3])
def test_closing_midway_ends_the_thread_and_pixels_are_still_there(streamed, taken):
    streamed.expect(torch.arange(50).split(2))
    for image_B in torch.arange(50).split(2)[:taken]:
        streamed.padded(image_B)

    streamed.close()

    assert readers() == []
    assert torch.equal(shown(streamed, torch.arange(9)), wanted(torch.arange(9)))
    streamed.close()


def test_what_is_forgotten_leaves_no_thread_behind():
    streamed = Streamed(some_images(), 2, CPU)
    streamed.expect(torch.arange(50).split(2))
    streamed.padded(torch.arange(2))
    gone = weakref.ref(streamed)

    del streamed
    gc.collect()

    assert gone() is None
    wait_until(lambda: readers() == [])


def test_a_thread_that_waits_does_not_keep_the_interpreter_from_ending():
    code = """
        import itertools, torch
        from kd.views.pixels import Streamed
        streamed = Streamed(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), 1, "cpu")
        streamed.expect(itertools.repeat(torch.arange(9)))
        streamed.padded(torch.arange(9))
    """

    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")


# -- where they are put ------------------------------------------------------------------------------------------


def test_images_are_resident_if_they_fit_the_budget_with_their_padding():
    split = Split(some_images(), torch.zeros(10, dtype=torch.int64), torch.arange(10))
    size = 10 * 3 * (6 + 4) * (5 + 4)

    assert isinstance(pixels.place(split, 2, CPU, size), Resident)
    assert isinstance(pixels.place(split, 2, CPU, size - 1), Streamed)
    assert isinstance(pixels.place(split, 2, CPU), Resident)  # 2.7 kB fit anywhere
    assert torch.equal(shown(pixels.place(split, 2, CPU, 0), torch.arange(10)), wanted(torch.arange(10)))


def test_more_padding_than_half_of_an_image_is_refused_in_words():
    split = Split(some_images(), torch.zeros(50, dtype=torch.int64))

    with pytest.raises(KdError, match=r"crop_padding is 3, but the images are 6×5 pixels: it must be at most 2"):
        pixels.place(split, 3, CPU)


# -- free memory -------------------------------------------------------------------------------------------------


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_free_memory_of_the_machine_is_what_the_kernel_calls_available(tmp_path):
    write(tmp_path, {"meminfo": "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    4 kB\nHugePages_Total: 0\n"})

    assert memory.of_machine(tmp_path) == 4096
    assert memory.of_machine(tmp_path / "elsewhere") > 2**27
    assert 2**20 < memory.free_bytes(CPU) <= memory.of_machine()


@pytest.mark.parametrize(
    ("line", "files", "free"),
    [
        (
            "0::/a/b",
            {"a/b/memory.max": "1000", "a/b/memory.current": "700", "a/b/memory.stat": "inactive_file 50"},
            [350],
        ),
        ("0::/a/b", {"a/b/memory.max": "max", "a/b/memory.current": "700", "a/b/memory.stat": "inactive_file 50"}, []),
        ("0::/a/b", {"a/memory.max": "900", "a/memory.current": "900", "a/memory.stat": "inactive_file 0"}, [0]),
        ("0::/../..", {"memory.max": "900", "memory.current": "1", "memory.stat": "inactive_file 0"}, []),
        (
            "4:cpu,memory:/docker/x",  # as the host calls it; inside of the container it is the top
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "total_inactive_file 20\ncache 9",
            },
            [520],
        ),
        ("9:name=systemd:/", {}, []),
    ],
)
def test_a_container_has_what_its_limit_leaves_with_cached_files_counted_as_free(tmp_path, line, files, free):
    write(tmp_path, {"proc/self/cgroup": f"3:pids:/\n{line}\n"})
    write(tmp_path / "cgroup", files)

    assert list(memory.of_cgroups(tmp_path / "proc", tmp_path / "cgroup")) == free


# -- larger than memory ------------------------------------------------------------------------------------------

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
    slowly = {"optimizer": {"lr": 0.0001}}
    teacher = {"arch": "mlp", "epochs": 1} | slowly
    config = slowly | {"dataset": "packed/large", "teacher": teacher, "epochs": 1, "views": 1,
              "student": {"arch": "mlp"}, "control": False, "augmentation": {"crop_padding": 2, "flip": True}}
    spec = parse(json.dumps({"mode": "train", "config": config}))
    resident = {"placed": None, "resident": 10**12}[sys.argv[2]]
    for event in run(spec, Path(sys.argv[1]) / sys.argv[2], data_folder=sys.argv[1], resident_bytes=resident):
        print(event.event)
"""


@pytest.mark.parametrize(("how", "ends"), [("placed", True), ("resident", False)])
def test_a_whole_run_trains_from_600_MB_with_450_MB_of_memory_unless_they_must_be_resident(large, how, ends):
    command = [sys.executable, "-c", textwrap.dedent(WHOLE_RUN_UNDER_A_CAP), str(large[0]), how]

    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.stdout.split()[-1:] == (["finished"] if ends else ["started"]), ended.stderr
    assert ends or "allocate memory" in ended.stderr
