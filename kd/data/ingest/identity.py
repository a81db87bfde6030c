"""By what a file or a folder is known again without being read: its place, and the sizes and times of what is there."""

import hashlib
import os
from pathlib import Path


def identity_of(path: Path) -> str:
    """Another text whenever a file has been written to, whatever times it got since. `OSError` if one goes."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(_files_in(path)):
        there = file.stat() if file == path else file.lstat()  # of a folder's links none is read
        known = (file.relative_to(path), there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
        digest.update("\0".join(map(str, known)).encode(errors="surrogateescape") + b"\n")
    return f"{path.resolve()} {digest.hexdigest()}"


def _files_in(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
