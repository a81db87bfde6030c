"""How much memory is free: on a GPU, on the machine, in the container, for this process."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from kd.machine.cgroups import CGROUPS, PROC, numbers
from kd.machine.cgroups import memory as limits_and_usage

# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# What the process may have, and the line of /proc/self/status that says how much it has.
LIMITS = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))


def keep_what_is_freed() -> None:
    """Let malloc keep memory that is freed, where it is the GNU one.

    A training step on a CPU frees and asks for the same megabytes again and again; given back to the kernel, they come
    as fresh pages each time, which costs 5 to 15 % of the step. The process stays as large as it has ever been.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def peak_bytes(device: torch.device) -> dict[str, int]:
    """The most memory that this process has had so far: of the machine, and of the GPU if it uses one."""
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device)
    return peak


def free_bytes(device: torch.device) -> int:
    """How much more can be put on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return max(0, min([of_machine(), *of_process(), *of_cgroups()]))


def of_machine(proc: Path = PROC) -> int:
    with suppress(OSError, KeyError):
        return numbers(proc / "meminfo")["MemAvailable"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: at least no more than that


def of_process(proc: Path = PROC) -> Iterator[int]:
    """What its limits leave it, as `ulimit` sets them."""
    for limit, used in LIMITS:
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY:
            with suppress(OSError, KeyError):
                yield allowed - numbers(proc / "self" / "status")[used]


def of_cgroups(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[int]:
    """What the process's cgroup and those around it leave it."""
    return (limit - used for limit, used in limits_and_usage(proc, cgroups))
