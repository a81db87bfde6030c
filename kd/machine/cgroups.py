"""What the containers around this process let it have of the machine's memory, and what happened beyond it.

Standard library only.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# A cgroup's limit, what it uses, and what of that is cached files, which it gives back when asked.
CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[int, int]]:
    """The limit, and what is used of it, of the process's cgroup and of those around it, as far as they have one."""
    for folder, version in _around(proc, cgroups):
        yield from _of_one(folder, *(CGROUP_V2 if version == 2 else CGROUP_V1))


def oom_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """How many processes the kernel has ended so far because memory ran out: in our cgroup where that is counted, else
    on the machine."""
    for folder, version in _around(proc, cgroups):
        with suppress(OSError, KeyError):
            return numbers(folder / ("memory.events" if version == 2 else "memory.oom_control"))["oom_kill"]
    with suppress(OSError, KeyError):
        return numbers(proc / "vmstat")["oom_kill"]
    return 0


def _around(proc: Path, cgroups: Path) -> Iterator[tuple[Path, int]]:
    """The process's memory cgroup and those around it, innermost first, and the version of their files.

    In a container its own path may not be visible.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, version = cgroups, 2
        elif "memory" in controllers.split(","):
            top, version = cgroups / "memory", 1
        else:
            continue
        own = Path(os.path.normpath(top / path.lstrip("/")))
        for folder in (own, *own.parents):
            if folder.is_relative_to(top):
                yield folder, version


def _of_one(folder: Path, limit: str, usage: str, cached: str) -> Iterator[tuple[int, int]]:
    with suppress(OSError, ValueError, KeyError):  # ValueError: the limit is "max"
        used = int((folder / usage).read_text()) - numbers(folder / "memory.stat")[cached]
        yield int((folder / limit).read_text()), used


def numbers(path: Path) -> dict[str, int]:
    """Lines such as `MemFree: 12 kB` or `inactive_file 12288`, in bytes; others are left out."""
    found = {}
    for line in path.read_text().splitlines():
        name, *rest = line.replace(":", " ").split() or [""]
        if rest and rest[0].isdecimal():
            found[name] = int(rest[0]) * (1024 if rest[1:] == ["kB"] else 1)
    return found
