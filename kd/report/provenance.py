"""What a run was made with: the machine and the versions, so that somebody else can have the same."""

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from kd.machine.precision import FORMATS
from kd.training.run import Run
from kd.version import VERSION


def made_with(run: Run) -> dict[str, Any]:
    """The machine that read the test split. (A run may have been resumed, and begun elsewhere.)"""
    on_gpu = run.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(run.device) if on_gpu else "CPU",
        "processes": run.team.size,
        "precision": next(name for name, dtype in FORMATS.items() if dtype == run.autocast_dtype),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        # Plain text, which is all that a safe reader of resume states takes.
        "versions": {
            "stillhouse": VERSION,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": metadata.version("torchvision"),
            "numpy": metadata.version("numpy"),
        },
    }


def processor() -> str:
    """What the processor calls itself, as far as anyone knows."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
