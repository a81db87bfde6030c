"""Teachers that somebody brings as ONNX files: kept in a folder, named by what they are. No torch, no onnx.

`<folder>/<id>/` holds `model.onnx` and `teacher.json`, what was said of it; that is written last.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd.disk import BLOCK_BYTES, atomic, sync_folder
from kd.errors import KdError
from kd.models.onnx.said import NAMED, Graph, Preprocess
from kd.spec.names import IDS_ARE, UPLOAD_ID

MODEL, MANIFEST = "model.onnx", "teacher.json"
LARGEST_BYTES = 2 << 30
"""Of a file; what protobuf can read in one piece."""


class NoSuchTeacher(KdError):
    """There is no teacher of this id."""

    def __init__(self, teacher_id: str, why: str = "there is none in this data folder; `kd teacher add` makes one"):
        super().__init__(f"The teacher {teacher_id} cannot be used: {why}.")
        self.why = why


class NoOnnx(KdError):
    """What was brought is another kind of file; `why` is a clause that says what to do."""

    def __init__(self, why: str):
        super().__init__(f"The teacher is not taken: {why}.")
        self.why = why


CONVERT = "export the model as ONNX, `torch.onnx.export(model, (images,), 'model.onnx', external_data=False)`"
OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", f"it is a zip file, as torch.save, TorchScript and .pt2 write them; they hold code: {CONVERT}"),
    (b"\x80", f"it is a pickle, which is code: {CONVERT}"),
    (b"\x89HDF", "it is an HDF5 file, as Keras writes them: convert it with tf2onnx"),
)


class Said(BaseModel):
    """What whoever brings a teacher says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    preprocess: Preprocess | None = Field(default=None, description="none: its pixels are bytes, it does the rest")
    classes: tuple[str, ...] | None = Field(
        default=None, description="in the order of its outputs; none: in that of the data set"
    )


class Uploaded(BaseModel):
    """A teacher that is there."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    id: str
    said: Said
    graph: Graph | None = Field(description="none: nobody has looked yet")
    size: int
    sha256: str
    created_at: datetime


def add(folder: Path, file: IO[bytes], said: Said, graph: Graph | None) -> tuple[Uploaded, bool]:
    """Keep a teacher; whether it is new. The very same file with the very same words is the same teacher.

    Raises `NoOnnx`.
    """
    refuse_other_kinds(file)
    digest, size = hashlib.sha256(), 0
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    sha256 = digest.hexdigest()
    name = hashlib.sha256(f"{sha256} {said.model_dump_json(exclude={'name'})}".encode()).hexdigest()
    teacher_id = f"tch_{name[:28]}"
    place = folder / teacher_id
    if (place / MANIFEST).exists():
        return read(folder, teacher_id), False
    file.seek(0)
    with atomic(place / MODEL) as copy:
        shutil.copyfileobj(file, copy, BLOCK_BYTES)
    found = Uploaded(id=teacher_id, said=said, graph=graph, size=size, sha256=sha256, created_at=datetime.now(UTC))
    with atomic(place / MANIFEST) as written:
        written.write(found.model_dump_json(indent=2).encode())
    sync_folder(folder)
    return found, True


def refuse_other_kinds(file: IO[bytes]) -> None:
    """Raise `NoOnnx` for a file that says by its first bytes that it is something else."""
    beginning = file.read(64)
    file.seek(0)
    if not beginning:
        raise NoOnnx("the file is empty")
    for mark, why in OTHER_KINDS:
        if beginning.startswith(mark):
            raise NoOnnx(why)
    if beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") < LARGEST_BYTES:
        raise NoOnnx(f"it is a safetensors file, which has weights and no model: {CONVERT}")


def why_unclear(said: Said, graph: Graph) -> str | None:
    """What whoever brings the file has said too little of, or too much, as a clause."""
    if said.preprocess is None and not graph.integers:
        return f"its input is no uint8, so it must be said what it sees of pixels: {', '.join(NAMED)}, or mean and std"
    if graph.integers and said.preprocess is not None and not said.preprocess.leaves_bytes:
        return "its input is uint8, so nothing is done to pixels before it sees them: say nothing of them"
    for what, numbers in (("mean", said.preprocess.mean), ("std", said.preprocess.std)) if said.preprocess else ():
        if len(numbers) not in (1, graph.channels):
            return f"its {what} was said to be of {len(numbers)} channels, and it sees {graph.channels}"
    size = said.preprocess.size if said.preprocess else None
    if graph.size and size and graph.size != size:
        return f"it was said to see images of {_pixels(size)}, and the file takes {_pixels(graph.size)}"
    if said.classes is not None and graph.classes is not None and len(said.classes) != graph.classes:
        return f"{len(said.classes)} classes were named, and the file knows {graph.classes}"
    return None


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} pixels"


def is_id(text: str) -> bool:
    """Whether a teacher may have this id."""
    return re.fullmatch(UPLOAD_ID, text) is not None


def manifest(folder: Path, teacher_id: str) -> Path:
    """The file by which a run knows it."""
    return folder / teacher_id / MANIFEST


def read(folder: Path, teacher_id: str) -> Uploaded:
    """What is known of a teacher. Raises `NoSuchTeacher`."""
    if not is_id(teacher_id):
        raise NoSuchTeacher(teacher_id[:100], IDS_ARE)
    return read_manifest(manifest(folder, teacher_id))


def read_manifest(path: Path) -> Uploaded:
    """The same from its file. Raises `NoSuchTeacher`, and OSError while the disk does not give it."""
    teacher_id = path.parent.name
    try:
        return Uploaded.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchTeacher(teacher_id) from error
    except ValidationError as error:
        raise NoSuchTeacher(teacher_id, f"its {MANIFEST} is damaged") from error


def each(folder: Path) -> Iterator[Uploaded]:
    """All that are there, the newest first; one that is damaged is left out."""
    found = []
    for path in folder.glob(f"tch_*/{MANIFEST}"):
        try:
            found.append(read_manifest(path))
        except NoSuchTeacher:
            continue
    yield from sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def remove(folder: Path, teacher_id: str) -> None:
    """Raises `NoSuchTeacher`."""
    read(folder, teacher_id)
    manifest(folder, teacher_id).unlink()  # first, so that nobody finds half of it
    shutil.rmtree(folder / teacher_id)
