"""The members of a sweep as a picture: accuracy against size, and against latency. SVG, and nothing else needed."""

import math
from collections.abc import Callable, Sequence
from html import escape

from jobs.sweeps import standings
from jobs.sweeps.space import words
from jobs.sweeps.standings import Standing

WIDTH, HEIGHT = 960, 460
PANEL_WIDTH, PANEL_HEIGHT = 380, 320
TOP = 70
LEFTS = (70, 550)

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-size: 15px; font-weight: 600 }
.quiet { fill: #656d76 } .grid { stroke: #d0d7de; stroke-width: 1 } .back { fill: #ffffff }
.front { fill: #0969da; stroke: #0969da } .other { fill: none; stroke: #656d76 } .line { fill: none; stroke: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #8d96a0 } .grid { stroke: #30363d }
.back { fill: #0d1117 } .front { fill: #4493f8; stroke: #4493f8 } .other { stroke: #8d96a0 } .line { stroke: #4493f8 } }
"""

Cost = Callable[[Standing], float | None]


def draw(title: str, found: Sequence[Standing]) -> str:
    """Members that have succeeded: those on the front are filled, and a line joins those that lead in a panel."""
    shown = [one for one in found if one.succeeded and one.validation is not None]
    front = standings.front(found)
    costs: tuple[tuple[str, Cost], ...] = (
        ("parameters", lambda one: one.parameters),
        ("milliseconds for one image", lambda one: one.latency_seconds and one.latency_seconds * 1_000),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" aria-label="{escape(title)}: validation accuracy against size and latency">',
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFTS[0], 28, f"{title}: validation accuracy against cost", "title"),
        _text(LEFTS[0], 48, _summary(found, shown, front), "quiet"),
    ]
    for left, (name, cost) in zip(LEFTS, costs, strict=True):
        measured = [(x, one) for one in shown if (x := cost(one)) is not None and x > 0]
        parts += (
            _panel(left, name, measured, front) if measured else [_text(left, TOP + 20, f"No {name} yet.", "quiet")]
        )
    return "\n".join([*parts, "</svg>"])


def _summary(found: Sequence[Standing], shown: Sequence[Standing], front: set[int]) -> str:
    return f"{len(shown)} of {len(found)} members have succeeded; {len(front)} are on the Pareto front (filled)"


def _panel(left: int, name: str, measured: Sequence[tuple[float, Standing]], front: set[int]) -> list[str]:
    accuracies = [one.validation or 0.0 for _, one in measured]
    to_x = _scale([math.log10(x) for x, _ in measured], left, left + PANEL_WIDTH)
    to_y = _scale(accuracies, TOP + PANEL_HEIGHT, TOP)
    parts = [f'<rect class="grid" fill="none" x="{left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}"/>']
    for accuracy in _ticks(accuracies):
        y = to_y(accuracy)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 6, y + 4, f"{accuracy * 100:.4g} %", "quiet", "end"))
    for exponent in _log_ticks([math.log10(x) for x, _ in measured]):
        parts.append(_text(to_x(exponent), TOP + PANEL_HEIGHT + 18, _quantity(10**exponent), "quiet", "middle"))
    parts.append(_text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 40, f"{name}, logarithmic", "quiet", "middle"))
    if len(steps := _leaders(measured)) > 1:
        corners = " ".join(f"{to_x(math.log10(x)):.1f},{to_y(one.validation or 0.0):.1f}" for x, one in steps)
        parts.append(f'<polyline class="line" points="{corners}"/>')
    for x, one in measured:
        at_x, at_y = to_x(math.log10(x)), to_y(one.validation or 0.0)
        kind = "front" if one.number in front else "other"
        tip = escape(f"{one.number}: {words(one.point)}; {one.validation:.2%}, {_quantity(x)} {name}")
        parts.append(f'<circle class="{kind}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="5"><title>{tip}</title></circle>')
        if one.number in front:  # the others say who they are to whoever points at them
            parts.append(_text(at_x + 8, at_y - 6, str(one.number), "quiet"))
    return parts


def _leaders(measured: Sequence[tuple[float, Standing]]) -> list[tuple[float, Standing]]:
    """From the cheapest to the best, those that are better than all that are as cheap."""
    found: list[tuple[float, Standing]] = []
    for x, one in sorted(measured, key=lambda each: (each[0], -(each[1].validation or 0.0))):
        if not found or (one.validation or 0.0) > (found[-1][1].validation or 0.0):
            found.append((x, one))
    return found


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """From values to pixels, with a tenth of room at both ends."""
    low, high = _bounds(values)
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def _ticks(values: Sequence[float], most: int = 6) -> list[float]:
    """Round numbers between the ends, not too many."""
    low, high = _bounds(values)
    rough = (high - low) / most
    size = 10 ** math.floor(math.log10(rough))
    step = size * next(times for times in (1, 2, 5, 10) if size * times >= rough)
    return [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(exponents: Sequence[float]) -> list[float]:
    """The same on a logarithmic axis: 1, 2 and 5 of each order of magnitude, or the ends where there are fewer than two
    of them."""
    low, high = _bounds(exponents)
    found = [order + math.log10(times) for order in range(math.floor(low), math.ceil(high) + 1) for times in (1, 2, 5)]
    inside = [exponent for exponent in found if low <= exponent <= high]
    return inside[:: math.ceil(len(inside) / 8)] if len(inside) > 1 else sorted({min(exponents), max(exponents)})


def _quantity(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
