"""Which architectures of one's own there are: those that installed packages register, and this process. No torch.

The names of the former are read from the metadata of what is installed: who only asks for them runs nobody's code.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from kd import nearest
from kd.errors import ModelMissing, first_line
from kd.models.timm.catalog import Norm

GROUP = "stillhouse.models"
PREFIX = "own/"
NAME = re.compile(r"own/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
NAMES_ARE = "own/ and 1 to 64 of a-z, A-Z, 0-9, _, . and -, a letter or a digit first"

Factory = Callable[..., Any]
"""Called with the keywords `classes` and `channels`, and with `height` and `width` where it names them."""


@dataclass(frozen=True)
class Registered:
    """A factory that this process has, and no package."""

    factory: Factory
    version: str  # tells it from other code of that name
    norm: Norm | None = None  # where that is known
    file: Path | None = None  # that it is from


_here: dict[str, Registered] = {}


def is_own(arch: str) -> bool:
    return arch.startswith(PREFIX)


def names() -> tuple[str, ...]:
    """As specs have them. Entry points whose name is none, or which two packages register, are left out."""
    installed = {name for name, found in _entry_points().items() if len(found) == 1 and NAME.fullmatch(name)}
    return tuple(sorted(installed | _here.keys()))


def why_unknown(arch: str) -> str | None:
    """The sentence for one of one's own that cannot be told; None for one that can."""
    if not NAME.fullmatch(arch):
        return f"architectures of your own are named {NAMES_ARE}"
    found = [] if arch in _here else _entry_points().get(arch, [])
    if len(found) > 1:
        return f"{arch} is registered by {' and by '.join(map(_package, found))}: leave one of them installed"
    if arch in _here or found:
        return None
    if known := names():
        return nearest.unknown("model", arch, known)
    return (
        f"there is no model named {arch!r}, and none of your own at all: an installed package registers them, by entry "
        f"points of the group {GROUP}, or a file of `kd run --models`"
    )


def package_of(arch: str) -> str | None:
    """The package that registers it, and its version; None: this process does."""
    found = _entry_points().get(arch, [])
    return None if arch in _here or not found else _package(found[0])


def norm_of(arch: str) -> Norm | None:
    """What it normalises over, where whoever registered it has looked."""
    return _here[arch].norm if arch in _here else None


def identity(arch: str) -> str:
    """An architecture's name, which of one of one's own says of which version it is: the same weights mean something
    else in a network that computes something else."""
    if not is_own(arch):
        return arch
    return f"{arch} {_here[arch].version if arch in _here else package_of(arch)}"


def load(arch: str) -> Factory:
    """The factory. Raises `ModelMissing` where nobody registers it, or where the package cannot be imported."""
    if why := why_unknown(arch):
        raise ModelMissing(arch, f"{why}; install the package that has it where the workers run")
    if arch in _here:
        return _here[arch].factory
    (entry,) = _entry_points()[arch]
    try:
        factory = entry.load()
    except (Exception, SystemExit) as error:  # it is somebody's module, which may do anything
        why = f"to import {entry.value} of {_package(entry)} raises {type(error).__name__}: {first_line(error)}"
        raise ModelMissing(arch, why) from error
    if not callable(factory):
        raise ModelMissing(arch, f"{entry.value} of {_package(entry)} is no function that builds a model")
    return factory  # type: ignore[no-any-return]


@contextmanager
def registered(these: Mapping[str, Registered]) -> Iterator[None]:
    """While the block lasts, this process has these as well, by names as specs have them."""
    before = {arch: _here[arch] for arch in these if arch in _here}
    _here.update(these)
    try:
        yield
    finally:
        for arch in these:
            _here.pop(arch, None)
        _here.update(before)


def files() -> list[Path]:
    """The files from which something is registered here: a process that takes part in a run needs them too."""
    return sorted({one.file for one in _here.values() if one.file is not None})


def _entry_points() -> Mapping[str, list[EntryPoint]]:
    return _entry_points_in(tuple(sys.path))


@cache
def _entry_points_in(_path: tuple[str, ...]) -> Mapping[str, list[EntryPoint]]:
    """By name. Looked up once for the places that Python searches: every spec asks several times."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(f"{PREFIX}{entry.name}", []).append(entry)
    return found


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.module
