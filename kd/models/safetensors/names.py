"""Whose weights these are: the names and shapes of a file, and those of a network."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from kd.errors import KdError
from kd.models.safetensors.header import shown

Shape = tuple[int, ...]

COUNTER = "num_batches_tracked"
"""How many batches a normalisation has seen, which only matters to one that goes on learning: it may be missing."""

MOST_NAMED = 3
LOOKED_FOR = 8
"""Of our names, to see what stands before them in a file; and of prefixes, to see which of them it is."""


@dataclass(frozen=True)
class Match:
    """Of each name in the network that in the file, and what stands before every name there, and not here."""

    theirs: Mapping[str, str]
    prefix: str


class NamesDiffer(KdError):
    """A file's tensors are not those of the network; `why` is the rest of a sentence about the file."""

    def __init__(
        self,
        *,
        missing: Collection[str],
        strange: Collection[str],
        reshaped: Mapping[str, tuple[Shape, Shape]],
        network: str,
    ):
        shapes = [f"{name} ({shown(theirs)}, not {shown(ours)})" for name, (theirs, ours) in reshaped.items()]
        said = (
            ("does not have", missing),
            (f"has, and {network} has not,", strange),
            ("has in another shape", shapes),
        )
        self.why = "; it ".join(f"{what} {_some(names)}" for what, names in said if names)
        super().__init__(f"The file {self.why}.")
        self.missing, self.strange, self.reshaped = missing, strange, reshaped


def match(
    theirs: Mapping[str, Shape],
    ours: Mapping[str, Shape],
    network: str = "the model",
    *,
    may_differ: Collection[str] = (),
) -> Match:
    """Find each of our tensors in the file, whose names may have one prefix that ours have not, or lack one.

    Raises `NamesDiffer` unless these are the same tensors, counters of batches aside; those of ours that `may_differ`
    are left out where they are not there, or have another shape.
    """
    found = max(
        (_aligned(theirs, ours, *prefixes) for prefixes in product(_prefixes(theirs, ours), _common(ours))),
        key=lambda match: len(match.theirs),
    )
    taken = set(found.theirs.values())
    optional = set(may_differ)
    missing = [name for name in ours if name not in found.theirs.keys() | optional and not name.endswith(COUNTER)]
    strange = [name for name in theirs if name not in taken]
    reshaped = {
        name: (theirs[there], ours[name]) for name, there in found.theirs.items() if theirs[there] != ours[name]
    }
    left_out = reshaped.keys() & optional
    reshaped = {name: shapes for name, shapes in reshaped.items() if name not in optional}
    if missing or strange or reshaped:
        raise NamesDiffer(missing=missing, strange=strange, reshaped=reshaped, network=network)
    return Match({name: there for name, there in found.theirs.items() if name not in left_out}, found.prefix)


def _aligned(theirs: Iterable[str], ours: Iterable[str], prefix: str, without: str) -> Match:
    there = {name.removeprefix(prefix): name for name in theirs if name.startswith(prefix)}
    stems = {name: name.removeprefix(without) for name in ours}
    return Match({name: there[stem] for name, stem in stems.items() if stem in there}, prefix)


def _prefixes(theirs: Iterable[str], ours: Mapping[str, Shape]) -> list[str]:
    """What stands in the file before names of ours, such as `module.`; nothing at all first."""
    some = list(ours)[:: max(1, len(ours) // LOOKED_FOR)]
    stems = {f".{name.removeprefix(without)}" for name in some for without in _common(ours)}
    found = Counter(name[: 1 - len(stem)] for name in theirs for stem in stems if name.endswith(stem))
    return ["", *(prefix for prefix, _ in found.most_common(LOOKED_FOR))]


def _common(names: Iterable[str]) -> list[str]:
    """The prefixes that all of these names have, whole parts of a name; nothing at all first."""
    each = [name.split(".")[:-1] for name in names]
    found, parts = [""], zip(*each, strict=False)
    for same in parts:
        if len(set(same)) > 1:
            break
        found.append(f"{found[-1]}{same[0]}.")
    return found


def _some(names: Collection[str]) -> str:
    """The first few, and how many more there are."""
    first = ", ".join(list(names)[:MOST_NAMED])
    return f"{first} and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else first
