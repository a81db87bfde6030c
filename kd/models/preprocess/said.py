"""What is said of how a model that was made elsewhere sees an image. No torch."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

Interpolation = Literal["nearest", "bilinear", "bicubic"]
USUAL_INTERPOLATION: Interpolation = "bilinear"
Colour = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preprocess(BaseModel):
    """What a model wants done to an image before it sees it.

    Of a pixel in 0..255 it sees (pixel / `scale` − mean) / std. A mean or deviation of one number is that of every
    channel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scale: PositiveFloat = Field(default=255, description="255 for pixels in 0..1, 1 for pixels in 0..255")
    mean: Colour = (0.0,)
    std: Annotated[tuple[PositiveFloat, ...], Field(min_length=1, max_length=4)] = (1.0,)
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="height, width; none: the file's own, or if it takes any, that of the images"
    )
    interpolation: Interpolation = Field(
        default=USUAL_INTERPOLATION, description="how images of another size are resized"
    )

    @property
    def leaves_bytes(self) -> bool:
        """Whether it sees pixels as they are stored."""
        return self.scale == 1 and not any(self.mean) and all(one == 1 for one in self.std)

    @model_validator(mode="after")
    def _mean_and_std_are_of_the_same_channels(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} numbers and std {len(self.std)}: one for each channel, both")
        return self

    def why_not_of(self, channels: int) -> str | None:
        """What keeps it from being of images with so many channels, as a clause."""
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, channels):
                return f"its {what} was said to be of {len(numbers)} channels, and it sees {channels}"
        return None


class Sight(BaseModel):
    """How a network sees the images of a data set, and answers in its order of classes."""

    model_config = ConfigDict(frozen=True)

    preprocess: Preprocess | None = Field(description="none: it sees pixels as the data set's own networks do")
    channels: int
    size: tuple[int, int] = Field(description="height, width")
    given_mean: Colour = Field(description="of the data set, whose networks see (pixel / 255 − mean) / std")
    given_std: Colour
    bare: bool = Field(
        default=True,
        description="the network takes images of this very size; else it is as Stillhouse has built and trained it",
    )
    order: tuple[int, ...] | None = Field(
        default=None, description="which of its outputs is each class of the data set; none: they have the same order"
    )


Pixels = Literal["imagenet", "unit", "symmetric", "bytes"]
NAMED: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "unit": {},  # 0..1
    "symmetric": {"mean": (0.5,), "std": (0.5,)},  # -1..1
    "bytes": {"scale": 1},  # 0..255
}
_SIZE = re.compile(r"([1-9][0-9]{0,3})[x×]([1-9][0-9]{0,3})", re.ASCII)


def preprocess(
    pixels: str | None,
    *,
    mean: str | None = None,
    std: str | None = None,
    size: str | None = None,
    interpolation: Interpolation = USUAL_INTERPOLATION,
    usual: Preprocess | None = None,
) -> Preprocess | None:
    """What somebody says in words, or in numbers with commas between them; the rest is as `usual`.

    None if nothing is said and nothing usual: it takes bytes as they are, or what the data set's networks see. Raises
    ValueError with a clause.
    """
    found: dict[str, Any] = {"interpolation": interpolation}
    if size is not None:
        if (match := _SIZE.fullmatch(size)) is None:
            raise ValueError(f"an image's size is HEIGHTxWIDTH, such as 224x224, and not {size[:40]!r}")
        found["size"] = (int(match[1]), int(match[2]))
    elif usual is not None:
        found["size"] = usual.size
    if (mean is None) != (std is None):
        raise ValueError("mean and std go together")
    if mean is not None and std is not None:
        if pixels is not None:
            raise ValueError("pixels says what mean and std say as well: give one of the two")
        found |= {"mean": _numbers(mean), "std": _numbers(std)}
    elif pixels is not None:
        if pixels not in NAMED:
            raise ValueError(
                f"pixels are {', '.join(NAMED)}, or mean and std say what they are, and not {pixels[:40]!r}"
            )
        found |= NAMED[pixels]
    elif usual is not None:
        found |= {"scale": usual.scale, "mean": usual.mean, "std": usual.std}
    elif size is not None:
        raise ValueError("size says how large its images are, but not what it sees of pixels; of uint8 that is bytes")
    elif interpolation != USUAL_INTERPOLATION:
        raise ValueError(
            "interpolation goes with what it sees of pixels, which must be said as well; of uint8 that is bytes"
        )
    else:
        return None
    try:
        return Preprocess(**found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"mean and std are numbers with commas between them, and not {text[:40]!r}") from None
