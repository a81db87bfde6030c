"""What is known of timm's architectures without timm: `catalog.tsv`, which `python -m kd.models.timm.survey` writes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("catalog.tsv")
PREFIX = "timm/"

# Whether it takes images of any size, must be told their size when it is built, or takes those of one size only.
Sizing = Literal["any", "told", "fixed"]

# What it normalises over: the batch, wherever it does so; a layer, a group and the like; or nothing.
Norm = Literal["batch", "layer", "none"]


@dataclass(frozen=True)
class TimmFacts:
    """One architecture with ten classes.

    `parameters` are for images of the size `side`, which matters to those that learn a vector for each place; `macs`
    are for an RGB image of 32×32, enlarged as it is.
    """

    sizing: Sizing
    norm: Norm
    stride: int  # pixels of the image's side to one of the last map's
    parameters: int
    macs: int
    side: int  # of the images that its published weights, if there are any, learnt from
    mean: tuple[float, ...]
    std: tuple[float, ...]
    features: tuple[tuple[str, int], ...]  # the last module at each stride, and that stride
    licence: str | None  # of its published weights


COLUMNS = ("name", *TimmFacts.__annotations__)


def names() -> tuple[str, ...]:
    """As timm has them, without our prefix."""
    return tuple(lines())


def facts_of(name: str) -> TimmFacts:
    """Of one of `names()`."""
    return read(lines()[name])


@cache
def lines() -> dict[str, str]:
    """The line of each name. They are read one by one, as they are asked for: the API starts with a list of names."""
    found = (line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {line.partition("\t")[0]: line for line in found}


def names_left_out() -> dict[str, str]:
    """Those of timm's names that are not for us, each with the reason."""
    comments = FILE.read_text(encoding="utf-8").splitlines()[2:]
    found = (line.removeprefix("# ").partition("\t") for line in comments if line.startswith("#"))
    return {name: why for name, _, why in found}


def surveyed_version() -> str:
    """The version of timm that the file tells of."""
    return FILE.read_text(encoding="utf-8").partition("\n")[0].split()[2]


def read(line: str) -> TimmFacts:
    name, sizing, norm, stride, parameters, macs, side, mean, std, features, licence = line.split("\t")
    if sizing not in ("any", "told", "fixed"):
        raise ValueError(f"{FILE.name}: {name} has a sizing {sizing!r}")
    if norm not in ("batch", "layer", "none"):
        raise ValueError(f"{FILE.name}: {name} has a norm {norm!r}")
    points = [point.rpartition(":") for point in features.split(",") if point]
    return TimmFacts(
        sizing=sizing,  # type: ignore[arg-type]  # mypy does not narrow a string
        norm=norm,  # type: ignore[arg-type]
        stride=int(stride),
        parameters=int(parameters),
        macs=int(macs),
        side=int(side),
        mean=tuple(map(float, mean.split(","))),
        std=tuple(map(float, std.split(","))),
        features=tuple((module, int(reduction)) for module, _, reduction in points),
        licence=licence or None,
    )


def write(name: str, facts: TimmFacts) -> str:
    """The line that `read` reads."""
    mean, std = (",".join(f"{number:.4g}" for number in numbers) for numbers in (facts.mean, facts.std))
    features = ",".join(f"{module}:{stride}" for module, stride in facts.features)
    numbers = (facts.stride, facts.parameters, facts.macs, facts.side)
    return "\t".join((name, facts.sizing, facts.norm, *map(str, numbers), mean, std, features, facts.licence or ""))
