"""Learning curves: what an epoch brought, for every role that learnt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kd.report.pictures.frame import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, axes, legend
from kd.report.pictures.looks import Look, in_words, looks, mark
from kd.report.pictures.numbers import finite
from kd.report.pictures.scales import Scale, around, around_ratios
from kd.report.pictures.svg import element, picture

FLATTEST = 10.0  # values that span more than this factor are drawn by their ratios, if they may be


@dataclass(frozen=True)
class Line:
    """A role's values after epochs. `best` is the epoch whose weights were kept."""

    role: str
    epochs: Sequence[float]
    values: Sequence[float | None]
    best: float | None = None

    @property
    def points(self) -> list[tuple[float, float]]:
        """Those that can be drawn."""
        pairs = zip(self.epochs, self.values, strict=True)
        return [(epoch, value) for epoch, value in pairs if finite(value) is not None and value is not None]


def curves(
    name: str,
    lines: Sequence[Line],
    *,
    title: str,
    y_says: str,
    y_format: Callable[[float], str],
    ratios: bool = False,
    least: float = 0.0,
) -> str:
    """A line for each role; empty text where there is nothing to draw. `ratios`: by their ratios where they span much.
    `least`: the axis spans no less."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    of_role = looks(line.role for line in drawn)
    values = [value for line in drawn for _, value in line.points]
    by_ratio = ratios and min(values) > 0 and max(values) > FLATTEST * min(values)
    key, top = legend([line.role for line in drawn], 12, _sample)
    low, high = around_ratios(values, room=1.15) if by_ratio else around(values, least=least)
    last = max(epoch for line in drawn for epoch, _ in line.points)
    x = Scale(0.0, max(last, 1.0), LEFT, WIDTH - RIGHT)
    y = Scale(low, high, HEIGHT - BOTTOM, top + 32, log=by_ratio)

    parts = [key]
    whole = [value for value in x.ticks(6) if value == int(value)]
    parts.append(
        axes(x, y, x_says="epoch", y_says=y_says, x_format=lambda value: f"{value:g}", y_format=y_format, x_ticks=whole)
    )
    for line in drawn:
        look = of_role[line.role]
        path = "L".join(f"{x(epoch):.1f} {y(value):.1f}" for epoch, value in line.points)
        parts.append(element("path", d=f"M{path}", class_=f"line {look.css}", stroke_dasharray=look.dash))
        marked = [point for point in line.points if point[0] == line.best or len(line.points) == 1]
        parts += [mark(look, x(epoch), y(value), 3.5) for epoch, value in marked]
    says = "; ".join(
        f"{in_words(line.role)}: {y_format(line.points[0][1])} after epoch {line.points[0][0]:g}, "
        f"{y_format(line.points[-1][1])} after epoch {line.points[-1][0]:g}"
        for line in drawn
    )
    return picture(name, *parts, title=title, says=f"{says}.", width=WIDTH, height=HEIGHT)


def _sample(look: Look, x: float, y: float) -> str:
    return element("path", d=f"M{x:.1f} {y:.1f}h16", class_=f"line {look.css}", stroke_dasharray=look.dash)
