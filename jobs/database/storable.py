"""What both databases can hold: text without NUL and lone surrogates, JSON without NaN."""

import json
import math
import re
from typing import Any

from jobs.errors import NotStorable

# PostgreSQL text cannot hold NUL; UTF-8 cannot hold half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# In JSON of ASCII alone: those, whole pairs, and backslashes that somebody has written so.
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def refuse(value: Any, field: str) -> None:
    """Raise NotStorable if a string anywhere in a user's JSON value cannot be stored."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise NotStorable(field, "holds a NUL character or half of a surrogate pair, which cannot be stored")
    elif isinstance(value, dict):
        for key, inner in value.items():
            refuse(key, f"a key in {field}")
            refuse(inner, f"{field}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            refuse(inner, f"{field}.{index}")


def is_storable(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def clean(text: str) -> str:
    """What a program printed, with every character that cannot be stored shown as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def to_json(value: Any) -> str:
    """JSON for a column. NaN and infinities become the strings "NaN", "Infinity" and "-Infinity"."""
    try:
        if not _ESCAPED.search(text := _dumps(value)):
            return text
    except ValueError:  # a number that JSON has not
        pass
    return _dumps(_plain(value))


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {clean(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
