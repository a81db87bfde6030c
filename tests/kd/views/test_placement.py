"""Images are resident where they fit into the memory that is free, else streamed."""

from pathlib import Path

import pytest
import torch

from kd.data.splits import Split
from kd.errors import KdError
from kd.machine import memory
from kd.views import pixels
from kd.views.pixels import Resident, Streamed
from tests.kd.views.noise import some_images
from tests.kd.views.reading import shown, wanted

CPU = torch.device("cpu")


def test_images_are_resident_if_they_fit_the_budget_with_their_padding():
    split = Split(some_images(), torch.zeros(10, dtype=torch.int64), torch.arange(10), torch.arange(10))
    size = 10 * 3 * (6 + 4) * (5 + 4)

    assert isinstance(pixels.place(split, 2, CPU, size), Resident)
    assert isinstance(pixels.place(split, 2, CPU, size - 1), Streamed)
    assert isinstance(pixels.place(split, 2, CPU), Resident)  # 2.7 kB fit anywhere
    assert torch.equal(shown(pixels.place(split, 2, CPU, 0), torch.arange(10)), wanted(torch.arange(10)))


def test_more_padding_than_half_of_an_image_is_refused_in_words():
    split = Split(some_images(), torch.zeros(50, dtype=torch.int64), torch.arange(50))

    with pytest.raises(KdError, match=r"crop_padding is 3, but the images are 6×5 pixels: it must be at most 2"):
        pixels.place(split, 3, CPU)


# -- free memory -------------------------------------------------------------------------------------------------


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_free_memory_of_the_machine_is_what_the_kernel_calls_available(tmp_path, monkeypatch):
    write(tmp_path, {"meminfo": "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    4 kB\nHugePages_Total: 0\n"})

    assert memory.of_machine(tmp_path) == 4096
    assert memory.of_machine(tmp_path / "elsewhere") > 2**27
    assert memory.free_bytes(CPU) > 2**20
    monkeypatch.setattr(memory, "of_machine", lambda: 7)  # the real one is another whenever it is asked
    assert memory.free_bytes(CPU) == 7


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
