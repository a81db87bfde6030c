"""Resume states: what a run goes on from."""

import zipfile
from io import BufferedReader
from pathlib import Path

import torch

from kd import outputs
from kd.disk import sha256_in, write
from kd.errors import BadResume, DamagedResume
from kd.events import SavedFile
from kd.training.resuming.position import Position, from_plain, to_plain
from kd.training.resuming.request import Request, extend, why_not

FORMAT = 4


def save_position(position: Position, request: Request, out: Path) -> SavedFile:
    """Write a resume state under `out`."""
    content = {"format": FORMAT, "request": request, "position": to_plain(position)}
    return write(out, folder_of(position.step) / outputs.RESUME, lambda file: torch.save(content, file))


def load_position(path: Path, request: Request, *, sha256: str | None = None, extends: bool = False) -> Position:
    """Read a resume state of a run that was asked for the same; with `extends` perhaps for fewer epochs.

    `sha256` is that of what was saved; where nobody knows it, the checksums within the file must do. Raises
    `DamagedResume` when the file is no resume state (any more), and `BadResume` when it may well be one, but cannot be
    read from here and now, or belongs to another version or spec.
    """
    _check_content(path, sha256)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved_as = content["format"]
    except Exception as error:  # torch.load raises half a dozen kinds for a file that is no checkpoint
        raise DamagedResume(path, f"it cannot be read ({type(error).__name__})") from error
    if saved_as != FORMAT:
        raise BadResume(
            path,
            f"it was saved by another version of Stillhouse (resume format {saved_as}, this one reads {FORMAT}); "
            "finish the run with that version, or start it anew",
        )
    try:
        before, position = content["request"], from_plain(content["position"])
    except (TypeError, KeyError, AttributeError) as error:
        raise DamagedResume(path, f"it cannot be read ({type(error).__name__})") from error
    if why := why_not(before, request, extends=extends):
        raise BadResume(path, why)
    if before != request:
        extend(position, before, request)
    return position


def folder_of(step: int) -> Path:
    """Where a run keeps what it saves at this step, relative to its own folder."""
    return Path(outputs.CHECKPOINTS) / f"step-{step:09d}"


def _check_content(path: Path, sha256: str | None) -> None:
    """Read the file once before torch does, which takes a flipped bit for a weight, and says of a damaged file, too,
    that its disk failed (it seeks before its start)."""
    try:
        with path.open("rb") as file:
            is_whole = sha256_in(file) == sha256 if sha256 else _has_its_checksums(file)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.parent.exists():
            raise DamagedResume(path, "it is gone") from error
        raise BadResume(path, f"the disk does not give it ({error.strerror})") from error
    if not is_whole:
        raise DamagedResume(path, "its content is not what was saved")


def _has_its_checksums(file: BufferedReader) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError):
        return False
