"""What a packed data set says of itself: `facts.json`, which anyone can read without numpy or torch."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from kd import nearest
from kd.errors import DataError, is_passing

PREFIX = "packed/"
NAME = re.compile(r"packed/[a-z0-9][a-z0-9_-]{0,63}")
NAMES_ARE = "packed/ and 1 to 64 of a-z, 0-9, _ and -, a letter or a digit first"
FILE = "facts.json"
LARGEST_SIDE = 4_096
"""In pixels, to which images can be resized."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Resized(BaseModel):
    """How all images came to one size. A model scores up to a point less on those that another library resized."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    side: PositiveInt = Field(
        description="pixels: the short side became so long, then a square was cut from the middle"
    )
    interpolation: Literal["bicubic"] = Field(default="bicubic", description="antialiased")
    library: Literal["pillow"] = "pillow"


class PackedFacts(BaseModel):
    """Written last, when all else is on disk. Everything that is not the images is also checked at every reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=1)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(description="channels, height, width")
    train: PositiveInt = Field(description="images to learn from")
    validation: NonNegativeInt = Field(default=0, description="images; 0: cut from `train`")
    test: NonNegativeInt = Field(description="images; 0: cut from `train`")
    mean: tuple[float, ...] = Field(description="of each channel of the training images, in 0..1")
    std: tuple[PositiveFloat, ...]
    images_sha256: Sha256
    labels_sha256: Sha256
    duplicates: PositiveInt | None = Field(default=None, description="images with the pixels of an earlier one")
    resized: Resized | None = Field(default=None, description="none: they are as they were brought")
    facts_sha256: Sha256 | None = Field(default=None, description="`digest`; none: packed by an earlier version")

    @model_validator(mode="after")
    def _every_channel_has_its_statistics(self) -> Self:
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError("mean and std must have a number for each channel")
        return self

    @property
    def count(self) -> int:
        """All images."""
        return self.train + self.validation + self.test

    @property
    def digest(self) -> str:
        """sha256 of all that a model can see of the data set."""
        seen = [self.classes, self.shape, self.train, self.test, self.mean, self.std]
        if self.validation:  # else it is the digest that it was before there could be any
            seen.append(self.validation)
        if self.resized is not None:
            seen.append(self.resized.model_dump())
        return hashlib.sha256(json.dumps([*seen, self.images_sha256, self.labels_sha256]).encode()).hexdigest()


def is_packed(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def names(folder: Path) -> tuple[str, ...]:
    """The packed data sets in a data folder, as specs name them."""
    found = (f"{PREFIX}{path.parent.name}" for path in (folder / PREFIX).glob(f"*/{FILE}"))
    return tuple(sorted(filter(is_packed, found)))


def missing(folder: Path, name: str) -> str:
    """The sentence for one that is not there."""
    if there := names(folder):
        return nearest.unknown("data set", name, there)
    return f"there is no data set named {name!r}, and no packed one at all; `kd data add` makes one of photos"


def read(folder: Path, name: str) -> PackedFacts:
    """The facts of `packed/<name>` in a data folder.

    Raises `DataError` when it is not there, or they make no sense, and OSError while the machine does not give them.
    """
    path = folder / name / FILE
    try:
        return PackedFacts.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(name, f"{missing(folder, name)}.") from error
    except OSError as error:
        if is_passing(error):
            raise
        raise DataError(name, f"{path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(name, f"{path} is damaged ({place + ': ' if place else ''}{first['msg']}).") from error
