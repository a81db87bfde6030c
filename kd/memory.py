"""How much memory is free: on a GPU, on the machine, in the container, for this process."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# A cgroup's limit, what it uses, and what of that is cached files, which it gives back when asked.
CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
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
        return _numbers(proc / "meminfo")["MemAvailable"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: at least no more than that


def of_process(proc: Path = PROC) -> Iterator[int]:
    """What its limits leave it, as `ulimit` sets them."""
    for limit, used in LIMITS:
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY:
            with suppress(OSError, KeyError):
                yield allowed - _numbers(proc / "self" / "status")[used]


def of_cgroups(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[int]:
    """What the process's cgroup and those around it leave it. In a container its own path may not be visible."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = cgroups, CGROUP_V2
        elif "memory" in controllers.split(","):
            top, names = cgroups / "memory", CGROUP_V1
        else:
            continue
        own = Path(os.path.normpath(top / path.lstrip("/")))
        for folder in (own, *own.parents):
            if folder.is_relative_to(top):
                yield from _of_cgroup(folder, *names)


def _of_cgroup(folder: Path, limit: str, usage: str, cached: str) -> Iterator[int]:
    with suppress(OSError, ValueError, KeyError):  # ValueError: the limit is "max"
        used = int((folder / usage).read_text()) - _numbers(folder / "memory.stat")[cached]
        yield int((folder / limit).read_text()) - used


def _numbers(path: Path) -> dict[str, int]:
    """Lines such as `MemFree: 12 kB` or `inactive_file 12288`, in bytes; others are left out."""
    found = {}
    for line in path.read_text().splitlines():
        name, *rest = line.replace(":", " ").split() or [""]
        if rest and rest[0].isdecimal():
            found[name] = int(rest[0]) * (1024 if rest[1:] == ["kB"] else 1)
    return found
