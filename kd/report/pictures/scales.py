"""From values to places in a picture, and which values an axis names."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` lie between the places `start` and `stop`; with `log` by their ratios."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.stop - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """About so many round values, all between the ends."""
        return _ratios(self.low, self.high, wanted) if self.log else _steps(self.low, self.high, wanted)


def around(values: Iterable[float], *, least: float = 0.0, room: float = 0.08) -> tuple[float, float]:
    """Ends that leave room beside all values, at least `least` apart: of equal values there is an axis, too."""
    found = list(values)
    low, high = min(found), max(found)
    spare = max((high - low) * room, (least - (high - low)) / 2) or abs(high) * room or 1.0
    return low - spare, high + spare


def around_ratios(values: Iterable[float], *, room: float = 1.3) -> tuple[float, float]:
    """The same for values above 0 on a scale of ratios."""
    found = list(values)
    return min(found) / room, max(found) * room


def _steps(low: float, high: float, wanted: int) -> list[float]:
    rough = (high - low) / wanted
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(decade * nice for nice in NICE if decade * nice >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _ratios(low: float, high: float, wanted: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for nice in ((1, 2, 5), (1, 3), (1,)):
        found = [value for decade in decades for one in nice if low <= (value := one * 10.0**decade) <= high]
        if len(found) <= wanted + 1:
            break
    # Over a short way there is no round ratio, and over a very long one too many.
    return _steps(low, high, wanted) if len(found) < 2 else found[:: math.ceil(len(found) / (wanted + 1))]
