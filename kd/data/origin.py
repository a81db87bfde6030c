"""What the images of a packed data set were before: files with names, some of them unreadable or too small.

No model sees it, so it is no part of the digest: a data set without it is one of arrays, or of an earlier version.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from kd.disk import sync

FILE = "origin.json"
NAMES = "names.jsonl"
# Of those that are left out, as many are kept by name.
MOST_NAMED = 1_000


class Origin(BaseModel):
    """What is written down of it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1] = 1
    source: str
    left_out: NonNegativeInt = 0
    """Files that cannot be read as images."""
    left_out_files: dict[str, str] = {}
    """The first of them, each with the reason."""
    enlarged: tuple[NonNegativeInt, ...] = ()
    """The numbers of images that were smaller than they are here."""


@dataclass
class Files:
    """The files of a data set on their way into it: filled in as they come."""

    source: str
    names: list[str] = field(default_factory=list)
    """Of the images, in their order."""
    unreadable: dict[str, str] = field(default_factory=dict)
    enlarged: list[int] = field(default_factory=list)

    def name_of(self, image: int) -> str:
        return self.names[image]

    def write(self, folder: Path) -> None:
        origin = Origin(
            source=self.source,
            left_out=len(self.unreadable),
            left_out_files=dict(list(self.unreadable.items())[:MOST_NAMED]),
            enlarged=tuple(self.enlarged),
        )
        with open(folder / FILE, "wb") as file:
            file.write(origin.model_dump_json(indent=2).encode())
            sync(file)
        with open(folder / NAMES, "wb") as file:
            file.writelines(json.dumps(name).encode() + b"\n" for name in self.names)
            sync(file)


def read(folder: Path, count: int) -> Origin | None:
    """What the data set of so many images in this folder was made of; None where nobody has written it down, or it is
    damaged."""
    try:
        found = Origin.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if all(image < count for image in found.enlarged) else None


def names(folder: Path, count: int) -> list[str] | None:
    """The file of each of so many images; None as above."""
    try:
        with open(folder / NAMES, "rb") as file:
            found = list(_names(file))
    except (OSError, ValueError):
        return None
    return found if len(found) == count else None


def _names(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        name = json.loads(line)
        if not isinstance(name, str):
            raise ValueError(f"no name of a file: {line[:100]!r}")
        yield name
