"""What a name that is in no list may have meant."""

from difflib import get_close_matches

from kd.data.catalog import DatasetFacts


def unknown(kind: str, name: str, known: tuple[str, ...] | dict[str, DatasetFacts]) -> str:
    """The sentence for a name that is in no list: what it is not, and what it may have meant."""
    shown = name if len(name) <= 60 else name[:60] + "…"
    nearest = get_close_matches(name, list(known), n=3, cutoff=0.4)
    if nearest:
        return f"there is no {kind} named {shown!r}; the nearest are {', '.join(nearest)}"
    return f"there is no {kind} named {shown!r}; there are {', '.join(list(known)[:8])}"
