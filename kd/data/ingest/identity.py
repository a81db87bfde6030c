"""By what a file or a folder is known again without being read: its place, and the sizes and times of what is there."""

import hashlib
import os
from pathlib import Path


def identity_of(path: Path) -> str:
    """Another text whenever a file has changed in size or time. Raises `OSError` for what is not there."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(_files_in(path)):
        there = file.lstat()
        digest.update(
            f"{file.relative_to(path)}\0{there.st_size}\0{there.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return f"{path.resolve()} {digest.hexdigest()}"


def _files_in(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
