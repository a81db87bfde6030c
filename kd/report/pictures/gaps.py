"""The gap of each class: how much more of its images one model recognises than another."""

from collections.abc import Sequence

from kd.report.pictures.frame import WIDTH
from kd.report.pictures.numbers import count, points
from kd.report.pictures.scales import Scale
from kd.report.pictures.svg import element, label, picture, shortened

ROW = 18.0
NAME, NAME_CHARACTERS = 112.0, 15  # as wide as a class's name may be
VALUE = 38.0
LEAST_SPAN = 0.01


def gaps(
    name: str,
    worst: Sequence[tuple[str, float]],
    best: Sequence[tuple[str, float]] = (),
    *,
    between: int = 0,
    title: str,
) -> str:
    """A bar for each (class, gap of two shares), to the left where it is below 0. `between` classes of
    medium gaps are only counted. Empty text where there is no class."""
    shown = [*worst, *best]
    if not shown:
        return ""
    # As far to each side as there are bars, and a point at least.
    low, high = min(0.0, *(gap for _, gap in shown)), max(0.0, *(gap for _, gap in shown))
    x = Scale(low, max(high, low + LEAST_SPAN), NAME + VALUE, WIDTH - VALUE)
    middle = x(0.0)
    parts, y = [], 4.0
    for number, (class_name, gap) in enumerate(shown):
        if between and number == len(worst):
            words = f"… {count(between)} classes between …"
            parts.append(label(words, (x.start + x.stop) / 2, y + 13, anchor="middle", class_="tick"))
            y += ROW
        length = x(gap) - middle
        beside = middle + length + (4 if gap >= 0 else -4)
        parts += [
            label(shortened(class_name, NAME_CHARACTERS), NAME - 4, y + 13, anchor="end"),
            element(
                "rect",
                x=min(middle, middle + length),
                y=y + 3,
                width=max(abs(length), 0.7),
                height=ROW - 6,
                class_="ahead" if gap >= 0 else "behind",
            ),
            label(points(gap, 1), beside, y + 13, anchor=None if gap >= 0 else "end", class_="tick"),
        ]
        y += ROW
    parts.append(element("path", d=f"M{middle:.1f} 2V{y + 2:.1f}", class_="axis"))
    says = f"From {plain_end(shown[0])} to {plain_end(shown[-1])}, in percentage points."
    return picture(name, *parts, title=title, says=says, width=WIDTH, height=y + 6)


def plain_end(end: tuple[str, float]) -> str:
    class_name, gap = end
    return f"{shortened(class_name, 60)} ({points(gap, 1)})"
