"""What disks do: one is really full, on a file system of its own where this process may mount one; a bit flips."""

import errno
import os
import shutil
import subprocess
from pathlib import Path
from random import Random


class Disk:
    def __init__(self, folder: Path, megabytes: int):
        self.folder = folder
        self._ballast = folder / ".ballast"
        folder.mkdir(parents=True, exist_ok=True)
        self.is_own = os.geteuid() == 0 and shutil.which("mount") is not None and self._mount(megabytes)
        """If it is not, filling it would fill the machine's disk: then nobody may."""

    def _mount(self, megabytes: int) -> bool:
        options = f"size={megabytes}m,mode=0755"
        command = ["mount", "-t", "tmpfs", "-o", options, "stillhouse-tests", str(self.folder)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def fill(self) -> None:
        """To the last page."""
        assert self.is_own
        with open(self._ballast, "ab", buffering=0) as ballast:
            for block in (1 << 20, 1 << 12):
                try:
                    while ballast.write(bytes(block)) == block:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.is_own:
            # Lazily: a log that is still open must not keep us here.
            subprocess.run(["umount", "-l", str(self.folder)], check=True, capture_output=True)
            self.is_own = False


def flip(path: Path, dice: Random | None = None, *, at: int | None = None) -> int:
    """Flip one bit of a file where it lies, and say which byte it is in. Flipped at the same place once more, the file
    is what it was."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        assert size, f"{path} has no bit to flip"
        if at is None:
            at = (dice or Random(0)).randrange(size)
        (byte,) = os.pread(descriptor, 1, at)
        os.pwrite(descriptor, bytes([byte ^ 1]), at)
    finally:
        os.close(descriptor)
    return at
