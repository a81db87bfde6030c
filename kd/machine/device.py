"""Which device a run is on, and which GPUs there are to be on.

What torch can use is the one truth: a driver also counts GPUs that torch can do nothing with.
"""

import json
import os
import re
import warnings
from dataclasses import asdict, dataclass
from itertools import takewhile

import torch

from kd.errors import DeviceMissing, first_line
from kd.machine.driver import Driver, ask_driver

# The oldest branch of the driver on which a major version of CUDA runs.
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}


@dataclass(frozen=True)
class Gpus:
    """Those of this machine that the process may see."""

    names: tuple[str, ...]
    """Of each that torch can train on, in its order."""
    trouble: str | None
    """Why torch cannot use the others, and what to do about it."""


def find_device(name: str, gpus: int = 1) -> torch.device:
    """`auto` is CUDA where torch can use it; anything else is taken at its word. In a team each has a GPU of its own.

    Several CPU processes come only to who asks for `cpu` by name: they would not be faster than one.
    """
    there = look_for_gpus() if name.startswith(("auto", "cuda")) else Gpus((), None)
    if name == "auto":
        name = "cuda" if there.names or gpus > 1 else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:  # no device of any machine has that name
        raise DeviceMissing(name) from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceMissing(name)
    if device.type != "cuda":
        return device
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if gpus > 1 else device.index or 0)
    if max(device.index, gpus - 1) >= len(there.names):
        raise DeviceMissing(name, gpus, len(there.names), there.trouble)
    torch.cuda.set_device(device)
    return device


def look_for_gpus() -> Gpus:
    """Ask torch, and the driver for what torch does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `trouble` says the same, and what to do
        # (`device_count` alone is the driver's count, however old it is.)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    usable = tuple(takewhile(_has_code_for, range(count)))
    return Gpus(tuple(map(torch.cuda.get_device_name, usable)), _trouble(count, len(usable), ask_driver()))


def _has_code_for(index: int) -> bool:
    """Whether this torch has code that runs on a GPU: compiled for its generation, or to be compiled for it."""
    if torch.version.cuda is None:  # AMD's, which torch knows by other names
        return True
    capability, archs = torch.cuda.get_device_capability(index), " ".join(torch.cuda.get_arch_list())
    generations = [(kind, divmod(int(number), 10)) for kind, number in re.findall(r"\b(sm|compute)_(\d+)", archs)]
    return not generations or any(
        generation <= capability and (kind == "compute" or generation[0] == capability[0])
        for kind, generation in generations
    )


def _trouble(count: int, usable: int, driver: Driver | None) -> str | None:
    if usable < count:
        name, (major, minor) = torch.cuda.get_device_name(usable), torch.cuda.get_device_capability(usable)
        return (
            f"{_torch()} has no code for the {name} (compute capability {major}.{minor}). "
            "Install a torch for another CUDA, or leave this GPU out of CUDA_VISIBLE_DEVICES."
        )
    if count or driver is None or not (driver.gpus or driver.trouble):
        return None
    if driver.trouble is not None:
        return f"The NVIDIA driver does not answer: {driver.trouble}. After an update of it, restart the machine."
    those = f"torch cannot use the {driver.gpus[0]}" + (f" and {len(driver.gpus) - 1} more" * (len(driver.gpus) > 1))
    if torch.version.cuda is None:
        return f"{those}: {_torch()} is built without CUDA. Install a torch with CUDA."
    cuda = int(torch.version.cuda.partition(".")[0])
    oldest, found = OLDEST_DRIVER.get(cuda, 0), driver.version.partition(".")[0]
    if found.isdecimal() and int(found) < oldest:
        return (
            f"{those}: the NVIDIA driver is {driver.version}, and {_torch()} needs {oldest} or newer. "
            "Update the driver, or install a torch for an older CUDA."
        )
    return f"{those}: {_why_cuda_does_not_start()}. The NVIDIA driver is {driver.version}; look at `nvidia-smi`."


def _why_cuda_does_not_start() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "it finds no GPU"


def _torch() -> str:
    built_for = f" (CUDA {torch.version.cuda})" if torch.version.cuda else ""
    return f"torch {torch.__version__}{built_for}"


if __name__ == "__main__":
    print(json.dumps(asdict(look_for_gpus())))
