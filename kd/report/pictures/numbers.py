"""Numbers as a page says them. What is no number, or none that can be shown, is a dash."""

import math
from typing import Any

UNKNOWN = "–"
MINUS = "−"


def finite(value: Any) -> float | None:
    """The value, if it is a number that can be drawn; in a report NaN and infinities are text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def per_cent(share: Any, digits: int = 2) -> str:
    return UNKNOWN if (share := finite(share)) is None else f"{share * 100:.{digits}f} %"


def per_cent_of_tick(share: Any) -> str:
    """The same with no more digits than it takes, as an axis says it: `97 %`, `97.25 %`."""
    return UNKNOWN if (share := finite(share)) is None else f"{round(share * 100, 3):g} %"


def points(gain: Any, digits: int = 2) -> str:
    """A difference of two accuracies, in percentage points, with its sign."""
    return UNKNOWN if (gain := finite(gain)) is None else f"{gain * 100:+.{digits}f}".replace("-", MINUS)


def nats(value: Any) -> str:
    return UNKNOWN if (value := finite(value)) is None else f"{value:.3f}"


def count(number: Any) -> str:
    return UNKNOWN if (number := finite(number)) is None else f"{number:,.0f}"


def short(number: Any, unit: str = "") -> str:
    """Three digits and a factor: `1.23 M`; with a unit `1.23 MB`."""
    if (number := finite(number)) is None:
        return UNKNOWN
    for factor in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g} {factor}{unit}".rstrip()
        number /= 1000
    return f"{number:.3g} T{unit}"


def size(number_of_bytes: Any) -> str:
    return short(number_of_bytes, "B")


def duration(seconds: Any) -> str:
    if (seconds := finite(seconds)) is None:
        return UNKNOWN
    for unit, length in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * length and not (unit == "s" and seconds >= 119.5):
            return f"{seconds / length:.3g} {unit}"
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{minutes} min" if minutes < 120 else f"{hours:.3g} h"


def ratio(value: Any) -> str:
    """How many times: `0.85 ×`, `6.4 ×`, `53 ×`."""
    return UNKNOWN if (value := finite(value)) is None else f"{value:.{2 if value < 2 else 1 if value < 20 else 0}f} ×"
