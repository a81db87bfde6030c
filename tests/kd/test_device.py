"""Which GPUs a run can be on. torch says, and where the driver shows others the reason and the remedy are said."""

import pynvml
import pytest
import torch

from kd import errors
from kd.events import Noted, Started
from kd.machine.device import find_device, look_for_gpus
from kd.machine.driver import visible_ones
from kd.run import run
from kd.spec import parse
from tests.kd.tiny import TINY

TOO_OLD = "The NVIDIA driver on your system is too old (found version 12020)."


@pytest.fixture
def machine(monkeypatch):
    """What NVML and torch would answer on a machine with two GPUs."""

    def machine(
        *,
        driver: str = "580.65.06",
        nvml: Exception | None = None,
        cuda: str | None = "13.0",
        starts: str | None = None,
        capabilities: tuple[tuple[int, int], ...] = ((9, 0), (9, 0)),
    ) -> None:
        def init() -> None:
            if nvml is not None:
                raise nvml

        def start() -> None:
            if starts is not None:
                raise RuntimeError(starts)

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(pynvml, "nvmlInit", init)
        monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: driver)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda gpu: f"GPU {gpu}")
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda gpu: f"GPU-{gpu}{gpu}")
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch, "__version__", "2.13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None and starts is None)
        # By the driver's count, whatever torch can do with them.
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0 if cuda is None else 2)
        monkeypatch.setattr(torch.cuda, "init", start)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: start())
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90a", "compute_120"])

    return machine


NO_GOOD = pytest.mark.parametrize(
    ("as_it_is", "why"),
    [
        (
            {"driver": "535.104.05", "starts": TOO_OLD},
            "torch cannot use the GPU 0 and 1 more: the NVIDIA driver is 535.104.05, and torch 2.13.0 (CUDA 13.0) "
            "needs 580 or newer. Update the driver, or install a torch for an older CUDA.",
        ),
        (
            {"driver": "470.82", "starts": TOO_OLD, "cuda": "12.8"},
            "torch cannot use the GPU 0 and 1 more: the NVIDIA driver is 470.82, and torch 2.13.0 (CUDA 12.8) "
            "needs 525 or newer. Update the driver, or install a torch for an older CUDA.",
        ),
        (
            {"cuda": None},
            "torch cannot use the GPU 0 and 1 more: torch 2.13.0 is built without CUDA. Install a torch with CUDA.",
        ),
        (
            {"starts": "CUDA unknown error - this may be due to an incorrectly set up environment.\nMore."},
            "torch cannot use the GPU 0 and 1 more: CUDA unknown error - this may be due to an incorrectly set up "
            "environment. The NVIDIA driver is 580.65.06; look at `nvidia-smi`.",
        ),
        (
            {"nvml": pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH), "starts": "CUDA error 803"},
            "The NVIDIA driver does not answer: RM has detected an NVML/RM version mismatch. After an update of it, "
            "restart the machine.",
        ),
        (
            {"capabilities": ((7, 0), (9, 0))},
            "torch 2.13.0 (CUDA 13.0) has no code for the GPU 0 (compute capability 7.0). Install a torch for another "
            "CUDA, or leave this GPU out of CUDA_VISIBLE_DEVICES.",
        ),
    ],
    ids=["old driver", "older driver", "CPU build", "CUDA does not start", "driver updated", "old GPU"],
)


@NO_GOOD
def test_a_gpu_that_torch_cannot_use_is_none_and_the_reason_is_said(machine, as_it_is, why):
    machine(**as_it_is)

    there = look_for_gpus()

    assert (there.names, there.trouble) == ((), why)
    assert find_device("auto").type == "cpu"
    for name, gpus in (("cuda", 1), ("cuda:1", 1), ("auto", 2)):
        with pytest.raises(errors.DeviceMissing) as refused:
            find_device(name, gpus)
        assert str(refused.value).endswith(f". {why}")


@pytest.mark.parametrize(
    ("as_it_is", "names"),
    [
        ({}, ("GPU 0", "GPU 1")),
        # NVIDIA's packages for compatibility let an old driver run a new CUDA: what torch says counts.
        ({"driver": "535.104.05"}, ("GPU 0", "GPU 1")),
        ({"capabilities": ((8, 6), (12, 1))}, ("GPU 0", "GPU 1")),
        ({"capabilities": ((9, 0), (7, 0))}, ("GPU 0",)),
    ],
    ids=["as it should be", "compatibility", "minor generations", "the second is old"],
)
def test_what_torch_can_use_is_there(machine, as_it_is, names):
    machine(**as_it_is)

    there = look_for_gpus()

    assert there.names == names
    assert (there.trouble is None) == (len(names) == 2)
    assert find_device("auto") == torch.device("cuda", 0)
    if len(names) == 1:
        with pytest.raises(
            errors.DeviceMissing, match=r"wants 2 GPUs, but torch sees 1 here. torch 2.13.0 .* no code for"
        ):
            find_device("cuda", 2)


@pytest.mark.parametrize("reason", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_machine_without_a_driver_has_no_trouble(machine, reason):
    machine(nvml=pynvml.NVMLError(reason), cuda=None)

    assert look_for_gpus().trouble is None


@pytest.mark.parametrize("visible", ["", "-1"])
def test_nor_has_a_machine_whose_gpus_were_hidden(machine, monkeypatch, visible):
    machine(starts="No CUDA GPUs are available")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert look_for_gpus().trouble is None


@pytest.mark.parametrize(("device", "notes"), [("auto", 1), ("cpu", 0)])
def test_a_run_that_is_on_the_cpu_for_want_of_a_driver_says_so_first(machine, data, tmp_path, device, notes):
    machine(driver="535.104.05", starts=TOO_OLD)
    spec = parse({"mode": "train", "config": {**TINY, "resources": {"device": device}}})

    said = run(spec, tmp_path, data_folder=data)
    first, second = next(said), next(said)
    said.close()

    assert isinstance(first, Started)
    assert first.device == "cpu"
    assert [second.code for _ in range(notes)] == ["gpus_unusable"] * notes
    if notes:
        assert second.message.startswith("The run is on the CPU, although there are GPUs. torch cannot use the GPU 0")
    else:
        assert not isinstance(second, Noted)


GPUS = {"0": "H100", "1": "H200", "2": "A100"}
UUIDS = {"GPU-aa11": "H100", "GPU-bb22": "H200", "GPU-cc33": "A100"}


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("0", ("H100",)),
        ("2,0", ("A100", "H100")),
        ("", ()),
        ("-1", ()),
        ("0,9,1", ("H100",)),
        ("GPU-bb", ("H200",)),
        (" 1 , 2 ", ("H200", "A100")),
        ("MIG-dd44", ("MIG-dd44",)),
    ],
)
def test_the_gpus_are_those_that_cuda_would_show(visible, seen):
    assert visible_ones(visible, GPUS, UUIDS) == seen
