"""Files of a run: resume states and weights, complete on disk or not there at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from kd import models
from kd.errors import BadResume, BadWeights, DamagedResume
from kd.events import SavedFile

State = dict[str, Tensor]

# Of resume states: one of another version is set aside, and the run starts afresh.
RESUME_FORMAT = 2


@dataclass
class Position:
    """Where a run stands. `step` counts optimizer steps, labelling batches and finished phases of the whole run."""

    step: int = 0
    phase: str = ""
    dataset: str = ""  # its digest
    finished: dict[str, Any] = field(default_factory=dict)  # phase -> what came of it
    current: dict[str, Any] | None = None  # the loop under way: weights, optimizer, epoch, batch
    seconds: dict[str, float] = field(default_factory=dict)  # phase -> time spent, over all attempts


@dataclass(frozen=True)
class Facts:
    """What a weights file says of itself, so that nobody has to remember it."""

    arch: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]
    std: tuple[float, ...]


def save_position(position: Position, run_digest: str, out: Path) -> SavedFile:
    """Write a resume state under `out`."""
    content = {"format": RESUME_FORMAT, "run": run_digest, "position": vars(position)}
    return _write(out, _folder(position.step) / "resume.pt", lambda file: torch.save(content, file))


def load_position(path: Path, run_digest: str) -> Position:
    """Read a resume state.

    Raises `DamagedResume` when the file is no resume state (any more), and `BadResume` when it may well be one, but
    cannot be read from here and now, or belongs to another version or spec.
    """
    _ask_the_disk_for(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved_as, position, of = content.get("format"), Position(**content["position"]), content["run"]
    except Exception as error:  # torch.load raises half a dozen kinds for a file that is no checkpoint
        raise DamagedResume(path, f"it cannot be read ({type(error).__name__})") from error
    if saved_as != RESUME_FORMAT:
        raise BadResume(path, "it was saved by another version of Stillhouse")
    if of != run_digest:
        raise BadResume(path, "it was saved by a run with another spec")
    return position


def _ask_the_disk_for(path: Path) -> None:
    """Read the file once: torch.load says of a damaged one, too, that its disk failed (it seeks before its start)."""
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(2**20):
                pass
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.parent.exists():
            raise DamagedResume(path, "it is gone") from error
        raise BadResume(path, f"the disk does not give it ({error.strerror})") from error


def save_student(state: State, facts: Facts, step: int, out: Path) -> SavedFile:
    """Write a student's weights, with what one must know to use them."""
    return save_weights(state, facts, out, _folder(step) / "student.safetensors")


def save_weights(state: State, facts: Facts, out: Path, path: Path) -> SavedFile:
    """Write weights as safetensors to `out / path`."""
    # One entry, because safetensors writes several in any order: the same weights shall be the same file.
    metadata = {"stillhouse": json.dumps(asdict(facts))}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return _write(out, path, lambda file: file.write(safetensors.torch.save(tensors, metadata)))


def load_model(path: Path) -> tuple[nn.Module, Facts]:
    """The model in a weights file, in eval mode, and its facts. Inputs are (pixels / 255 - mean) / std."""
    with _opened(path) as file:
        facts = _facts(file)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        model = models.build(facts.arch, len(facts.classes), facts.shape)
        model.load_state_dict(state)
    return model.eval(), facts


def read_facts(path: Path) -> Facts:
    """What a weights file says of itself."""
    with _opened(path) as file:
        return _facts(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise BadWeights(path, str(error).splitlines()[0]) from error


def _facts(file: Any) -> Facts:
    return TypeAdapter(Facts).validate_json(file.metadata()["stillhouse"])


def copy_of(model: nn.Module) -> State:
    """The model's weights as they are now, on the CPU, not shared with it."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def write_text(text: str, out: Path, path: Path) -> SavedFile:
    """Write a text file to `out / path`."""
    return _write(out, path, lambda file: file.write(text.encode()))


def _folder(step: int) -> Path:
    return Path("checkpoints") / f"step-{step:09d}"


def _write(out: Path, path: Path, fill: Callable[[IO[bytes]], object]) -> SavedFile:
    with atomic(out / path) as file:
        fill(file)
    digest = hashlib.sha256()
    with open(out / path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return SavedFile(name=path.name, path=path.as_posix(), size=(out / path).stat().st_size, sha256=digest.hexdigest())


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: in containers that share a folder, process ids are shared as well.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's own changes survive a power cut: files that came, went, or were renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
