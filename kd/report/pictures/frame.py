"""What pictures with two axes have in common: the axes, their words, a legend."""

from collections.abc import Callable, Iterable, Sequence

from kd.report.pictures.looks import Look, in_words, looks
from kd.report.pictures.scales import Scale
from kd.report.pictures.svg import element, label

# In units of the picture, which a phone shows at about their size in pixels.
WIDTH, HEIGHT = 360.0, 250.0
LEFT, RIGHT, BOTTOM = 46.0, 16.0, 36.0
CHARACTER = 6.2  # as wide as one is, roughly
LEGEND_ROW = 16.0


def axes(
    x: Scale,
    y: Scale,
    *,
    x_says: str,
    y_says: str,
    x_format: Callable[[float], str],
    y_format: Callable[[float], str],
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Lines at the round values, the values beside them, and what they are."""
    parts = []
    for value in y.ticks():
        parts.append(element("path", d=f"M{x.start:.1f} {y(value):.1f}H{x.stop:.1f}", class_="grid"))
        parts.append(label(y_format(value), x.start - 5, y(value) + 3.5, anchor="end", class_="tick"))
    for value in x.ticks() if x_ticks is None else x_ticks:
        parts.append(element("path", d=f"M{x(value):.1f} {y.start:.1f}v4", class_="axis"))
        parts.append(label(x_format(value), x(value), y.start + 15, anchor="middle", class_="tick"))
    parts.append(element("path", d=f"M{x.start:.1f} {y.start:.1f}H{x.stop:.1f}", class_="axis"))
    parts.append(label(x_says, (x.start + x.stop) / 2, y.start + 30, anchor="middle", class_="tick"))
    parts.append(label(y_says, 2, y.stop - 13, class_="tick"))
    return "".join(parts)


def legend(roles: Iterable[str], top: float, sample: Callable[[Look, float, float], str]) -> tuple[str, float]:
    """A sample of each role's look with its name, in as many rows as it takes; and where the last row ends."""
    parts, x, y, of_role = [], LEFT, top, looks(roles)
    for role in roles:
        width = 30 + CHARACTER * len(in_words(role))
        if x + width > WIDTH and x > LEFT:
            x, y = LEFT, y + LEGEND_ROW
        parts += [sample(of_role[role], x, y - 4), label(in_words(role), x + 20, y)]
        x += width + 8
    return "".join(parts), y
