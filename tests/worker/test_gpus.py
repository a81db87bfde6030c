"""A worker offers the GPUs that torch can use, and says why it has no more."""

import sys

import pytest
from structlog.testing import capture_logs

from kd.machine import driver
from worker.heartbeat import offer_of

# What the worker and the child that it asks find in the place of NVIDIA's and of torch's.
PYNVML = """
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_DriverNotLoaded(NVMLError): pass
nvmlInit = nvmlShutdown = lambda: None
nvmlSystemGetDriverVersion = lambda: "535.104.05"
nvmlDeviceGetCount = lambda: 2
nvmlDeviceGetHandleByIndex = lambda index: index
nvmlDeviceGetName = lambda gpu: "H100"
nvmlDeviceGetUUID = lambda gpu: f"GPU-{gpu}"
"""
TORCH = """
from types import SimpleNamespace

def device(name): ...
def init(): raise RuntimeError("The NVIDIA driver on your system is too old")

__version__, version = "2.13.0", SimpleNamespace(cuda="13.0")
cuda = SimpleNamespace(
    is_available=lambda: {starts},
    device_count=lambda: 2,
    get_device_name=lambda index: "H100",
    get_device_capability=lambda index: (9, 0),
    get_arch_list=lambda: ["sm_90"],
    init=init,
)
"""


@pytest.mark.parametrize(
    ("torch", "names", "trouble"),
    [
        (TORCH.format(starts=True), ("H100", "H100"), None),
        (
            TORCH.format(starts=False),
            (),
            "torch cannot use the H100 and 1 more: the NVIDIA driver is 535.104.05, and torch 2.13.0 (CUDA 13.0) needs "
            "580 or newer. Update the driver, or install a torch for an older CUDA.",
        ),
        (
            "raise ImportError('libcudart.so.13: cannot open shared object file')",
            (),
            "torch does not say which GPUs it can use: ImportError: libcudart.so.13: cannot open shared object file",
        ),
    ],
    ids=["usable", "an old driver", "no torch"],
)
def test_a_worker_offers_the_gpus_that_torch_can_use_and_says_why_it_has_no_more(
    settings, monkeypatch, tmp_path, torch, names, trouble
):
    (tmp_path / "pynvml.py").write_text(PYNVML)
    (tmp_path / "torch.py").write_text(torch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    import pynvml

    monkeypatch.setattr(driver, "pynvml", pynvml)

    with capture_logs() as said:
        offer = offer_of(settings)

    assert (offer.gpus, tuple(offer.gpu_names)) == (len(names), names)
    assert [line["trouble"] for line in said if line["event"] == "gpus_unusable"] == ([trouble] if trouble else [])
