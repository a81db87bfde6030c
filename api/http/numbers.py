"""Numbers as JSON has them."""

import math
from typing import Literal

# JSON has no NaN: a diverged loss reads "NaN", and "Infinity" or "-Infinity".
Number = int | float | Literal["NaN", "Infinity", "-Infinity"]
Numbers = dict[str, Number]


def number(value: float) -> Number:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
