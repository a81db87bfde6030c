"""A small disk that can really be full: a file system of its own, where this process may mount one."""

import errno
import os
import shutil
import subprocess
from pathlib import Path


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
