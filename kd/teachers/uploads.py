"""Teachers that somebody brings as files: kept in a folder, named by what they are. No torch, no onnx.

`<folder>/<id>/` holds the file, `model.onnx` or `model.safetensors`, and `teacher.json`, what was said of it; that is
written last.
"""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd.disk import BLOCK_BYTES, atomic, sync_folder
from kd.errors import KdError
from kd.models.catalog import ONNX
from kd.models.onnx.said import Graph
from kd.models.preprocess.said import NAMED, Preprocess
from kd.models.preprocess.usual import usual, why_unsaid
from kd.models.safetensors import header
from kd.models.safetensors.facts import Facts, facts_in
from kd.models.safetensors.header import Weights
from kd.spec.names import IDS_ARE, UPLOAD_ID, why_no_model
from kd.teachers.kinds import EXPORT, FILE_NAMES, Kind, NotTaken, kind_of

MANIFEST = "teacher.json"


class NoSuchTeacher(KdError):
    """There is no teacher of this id."""

    def __init__(self, teacher_id: str, why: str = "there is none in this data folder; `kd teacher add` makes one"):
        super().__init__(f"The teacher {teacher_id} cannot be used: {why}.")
        self.why = why


class Said(BaseModel):
    """What whoever brings a teacher says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    architecture: str | None = Field(default=None, description="of weights; none: the file is a model by itself")
    preprocess: Preprocess | None = Field(
        default=None,
        description="none: its pixels are bytes, it does the rest; of weights: it sees as the data set's networks do",
    )
    classes: tuple[str, ...] | None = Field(
        default=None, description="in the order of its outputs; none: in that of the data set"
    )


class Uploaded(BaseModel):
    """A teacher that is there."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    id: str
    said: Said
    kind: Kind = "onnx"
    graph: Graph | None = Field(description="of an ONNX model; none: nobody has looked yet")
    weights: Weights | None = Field(default=None, description="of safetensors")
    facts: Facts | None = Field(default=None, description="of weights that Stillhouse has trained")
    size: int
    sha256: str
    created_at: datetime

    @property
    def arch(self) -> str:
        """The architecture as which it runs."""
        return self.said.architecture or ONNX


def add(folder: Path, file: IO[bytes], said: Said, graph: Graph | None = None) -> tuple[Uploaded, bool]:
    """Keep a teacher; whether it is new. The very same file with the very same words is the same teacher.

    Raises `NotTaken`.
    """
    kind, weights, facts = kind_of(file), None, None
    if kind == "safetensors":
        weights, facts = _look_into(file)
        said = _said_of_weights(said, facts)
    elif said.architecture is not None:
        raise NotTaken(f"it is no safetensors file, and {said.architecture} was said to be what its weights are of")
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    sha256 = digest.hexdigest()
    teacher_id = _name(sha256, said)
    place = folder / teacher_id
    if (place / MANIFEST).exists():
        return read(folder, teacher_id), False
    file.seek(0)
    with atomic(place / FILE_NAMES[kind]) as copy:
        shutil.copyfileobj(file, copy, BLOCK_BYTES)
    found = Uploaded(
        id=teacher_id,
        said=said,
        kind=kind,
        graph=graph,
        weights=weights,
        facts=facts,
        size=size,
        sha256=sha256,
        created_at=datetime.now(UTC),
    )
    with atomic(place / MANIFEST) as written:
        written.write(found.model_dump_json(indent=2).encode())
    sync_folder(folder)
    return found, True


def _name(sha256: str, said: Said) -> str:
    # Without the architecture where there is none: teachers had names before they could have one.
    left_out = {"name"} if said.architecture is not None else {"name", "architecture"}
    return f"tch_{hashlib.sha256(f'{sha256} {said.model_dump_json(exclude=left_out)}'.encode()).hexdigest()[:28]}"


def _look_into(file: IO[bytes]) -> tuple[Weights, Facts | None]:
    """What safetensors say of themselves. Raises `NotTaken`."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        found = header.read(file, size)
        return found.weights(), facts_in(found.metadata)
    except header.BadHeader as error:
        raise NotTaken(error.why) from None
    except ValueError:
        raise NotTaken(NO_FACTS) from None


NO_FACTS = "what its header says of its model is nothing that Stillhouse writes"


def _said_of_weights(said: Said, facts: Facts | None) -> Said:
    """All that is said of weights; one that Stillhouse has trained says itself what it is. Raises `NotTaken`."""
    if facts is not None:
        if said.architecture not in (None, facts.arch):
            raise NotTaken(f"its header says that its weights are of {facts.arch}, and {said.architecture} was said")
        try:
            sees = facts.preprocess
        except ValueError:
            raise NotTaken(NO_FACTS) from None
        if said.preprocess not in (None, usual(facts.arch), sees):
            raise NotTaken(
                "its header says what it sees of an image: leave out pixels, mean, std, size and interpolation"
            )
        known = {"architecture": facts.arch, "preprocess": sees, "classes": said.classes or facts.classes}
        said = said.model_copy(update=known)
    if said.architecture is None:
        raise NotTaken(
            "it is a safetensors file, which has weights and no model: say of which architecture they are, such as "
            f"timm/resnet18 (GET /models lists them), or {EXPORT}"
        )
    if why := why_no_model(said.architecture) or why_unsaid(said.architecture, said.preprocess):
        raise NotTaken(why)
    return said


def why_unclear(said: Said, graph: Graph) -> str | None:
    """What whoever brings an ONNX model has said too little of, or too much, as a clause."""
    if said.preprocess is None and not graph.integers:
        return f"its input is no uint8, so it must be said what it sees of pixels: {', '.join(NAMED)}, or mean and std"
    if graph.integers and said.preprocess is not None and not said.preprocess.leaves_bytes:
        return "its input is uint8, so nothing is done to pixels before it sees them: say nothing of them"
    if said.preprocess and (why := said.preprocess.why_not_of(graph.channels)):
        return why
    size = said.preprocess.size if said.preprocess else None
    if graph.size and size and graph.size != size:
        return f"it was said to see images of {_pixels(size)}, and the file takes {_pixels(graph.size)}"
    if said.classes is not None and graph.classes is not None and len(said.classes) != graph.classes:
        return f"{len(said.classes)} classes were named, and the file knows {graph.classes}"
    return None


def why_no_start(found: Uploaded, arch: str) -> str | None:
    """Why a model of this architecture cannot begin from it, as a clause."""
    if found.kind != "safetensors":
        return "is an ONNX file, which answers and is never trained: bring its weights as safetensors"
    if found.arch != arch:
        return f"has weights of {found.arch}, and what is to begin from them is a {arch}"
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


def content(path: Path, found: Uploaded) -> bytes:
    """The file beside a teacher's manifest. Raises `NoSuchTeacher` where it is not what was brought."""
    try:
        there = path.with_name(FILE_NAMES[found.kind]).read_bytes()
    except OSError as error:
        raise NoSuchTeacher(found.id, f"the disk does not give its file ({error.strerror})") from error
    if hashlib.sha256(there).hexdigest() != found.sha256:
        raise NoSuchTeacher(found.id, "its file has changed since it was brought (its sha256 is another)")
    return there


def each(folder: Path) -> Iterator[Uploaded]:
    """All that are there, the newest first; one that is damaged is left out."""
    found = []
    for path in folder.glob(f"tch_*/{MANIFEST}"):
        try:
            found.append(read_manifest(path))
        except NoSuchTeacher:
            continue
    yield from sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def collect(folder: Path, older_than_seconds: float) -> dict[str, int]:
    """Delete what was not finished, and nobody has written to for so long: teachers without a manifest, and halves of
    files beside whole ones. Answers with the size of each file that is gone, by its path in the folder."""
    before, gone = time.time() - older_than_seconds, {}
    for place in filter(lambda each: is_id(each.name), folder.glob("tch_*")):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it goes, or comes, at this moment
            files = {path: path.lstat() for path in place.iterdir()}
            if any(facts.st_mtime >= before for facts in (place.lstat(), *files.values())):
                continue
            unused = [path for path in files if path.name.startswith(".") and path.is_file()]
            if place / MANIFEST not in files:
                # Out of everybody's sight first: somebody may be about to bring it again.
                aside = place.with_name(f".{place.name}.{uuid4().hex}")
                place.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
                unused = list(files)
            for path in unused:
                path.unlink(missing_ok=True)
                gone[path.relative_to(folder).as_posix()] = files[path].st_size
    return gone


def remove(folder: Path, teacher_id: str) -> None:
    """Raises `NoSuchTeacher`."""
    read(folder, teacher_id)
    manifest(folder, teacher_id).unlink()  # first, so that nobody finds half of it
    shutil.rmtree(folder / teacher_id)
