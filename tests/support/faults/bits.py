"""Flipped bits: what a disk, a cable or a bad memory does to a file at rest."""

import os
from pathlib import Path
from random import Random


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
