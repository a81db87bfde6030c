"""What the containers around this process let it have of the machine's memory. Standard library only."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# A cgroup's limit, what it uses, and what of that is cached files, which it gives back when asked.
CGROUP_V2 = ("memory.max", "memory.current", "inactive_file")
CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[int, int]]:
    """The limit, and what is used of it, of the process's cgroup and of those around it, as far as they have one.

    In a container its own path may not be visible.
    """
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
                yield from _of_one(folder, *names)


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
