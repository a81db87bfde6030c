"""A process under what a container of the compose file is held to, as far as the kernel does that without a container:
a read-only root, `tmpfs` where the file says so, no capabilities and no way to get any."""

import functools
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path


def contained(command: Sequence[str], *, tmpfs: Sequence[str], readable: Sequence[Path], writable: Path) -> list[str]:
    """The command that runs this one so, in the first folder of `readable`. `tmpfs` is as in compose."""
    # (A folder that only the image has, nobody here asks for.)
    mounts = {place: options for place, _, options in (entry.partition(":") for entry in tmpfs) if Path(place).exists()}
    shown = [shlex.quote(str(folder)) for folder in (*readable, writable)]
    lines = [
        "set -e",
        # What a tmpfs would hide is held open, and shown again on top of it.
        *(f"exec {number}<{folder}" for number, folder in enumerate(shown, 3)),
        *(f"mount -t tmpfs -o nosuid,nodev,noexec,{options} tmpfs {place}" for place, options in mounts.items()),
        *(
            f"mkdir -p {folder} && mount --no-canonicalize --bind /proc/self/fd/{number} {folder}"
            for number, folder in enumerate(shown, 3)
        ),
        *(f"exec {number}<&-" for number, _ in enumerate(shown, 3)),
        'findmnt --raw --noheadings --output TARGET | while read -r target; do case "$target" in',
        f"/proc | /proc/* | /sys | /sys/* | /dev | /dev/* | {' | '.join((shown[-1], *mounts))}) ;;",
        '*) ! mountpoint -q "$target" || mount -o remount,bind,ro "$target" ;;',
        "esac; done",
        f"cd {shown[0]}",
        'exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"',
    ]
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "contained", *command]


@functools.cache
def is_possible() -> bool:
    """Whether we may: as root, on Linux."""
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
