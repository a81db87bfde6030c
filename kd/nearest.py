"""What a name that is in no list may have meant."""

from collections.abc import Collection
from difflib import get_close_matches

# Of a name that somebody gave us so much is looked at, and shown.
LOOKED_AT, SHOWN = 100, 60


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The sentence for a name that is in no list: what it is not, and what it may have meant."""
    shown = name if len(name) <= SHOWN else name[:SHOWN] + "…"
    return f"there is no {kind} named {shown!r}; {instead(name, known, cutoff=0.4, listed=8)}"


def instead(name: str, known: Collection[str], *, cutoff: float = 0.6, listed: int | None = None) -> str:
    """The names that are near, or else those that there are, the first `listed` of them."""
    names, looked_at = list(known), name[:LOOKED_AT].lower()
    # Whoever leaves out the family, `resnet18` for `torchvision/resnet18`, means that very one.
    meant = [whole for whole in names if "/" in whole and whole.rpartition("/")[2] == looked_at]
    nearest = list(dict.fromkeys([*meant, *get_close_matches(looked_at, names, n=3, cutoff=cutoff)]))[:3]
    if nearest:
        return f"the nearest are {', '.join(nearest)}"
    return f"there are {', '.join(names[:listed])}"
