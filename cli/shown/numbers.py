"""How numbers are said to people: accuracies as per cent, times as ages, sizes with their unit."""

import math
from datetime import UTC, datetime

# As the API has them: numbers, or the strings "NaN" and "Infinity".
Number = float | str | None
UNKNOWN = "–"


def finite_or_none(number: Number) -> float | None:
    """The number, if it is one that can be shown."""
    return None if number is None or not math.isfinite(float(number)) else float(number)


def per_cent(share: Number) -> str:
    share = finite_or_none(share)
    return UNKNOWN if share is None else f"{share * 100:.2f} %"


def points(gain: Number) -> str:
    """A difference of two accuracies, in percentage points."""
    gain = finite_or_none(gain)
    return UNKNOWN if gain is None else f"{gain * 100:+.2f} points"


def count(number: Number) -> str:
    number = finite_or_none(number)
    return UNKNOWN if number is None else f"{number:,.0f}"


def size(number_of_bytes: Number) -> str:
    number_of_bytes = finite_or_none(number_of_bytes)
    if number_of_bytes is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB"):
        if number_of_bytes < 1000:
            return f"{number_of_bytes:.3g} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.3g} GB"


def clock(seconds: Number) -> str:
    """A duration as minutes and seconds, or hours, minutes and seconds."""
    seconds = finite_or_none(seconds)
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(moment: str | None, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 time was, in its largest unit."""
    if moment is None:
        return UNKNOWN
    return span(((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds())


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
