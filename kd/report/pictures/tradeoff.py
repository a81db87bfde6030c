"""Accuracy against what a model costs: small and good is at the top left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kd.report.pictures.frame import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, axes
from kd.report.pictures.looks import in_words, looks, mark
from kd.report.pictures.numbers import per_cent, per_cent_of_tick
from kd.report.pictures.scales import Scale, around, around_ratios
from kd.report.pictures.svg import element, label, picture

APART = 13.0  # labels, so that two can be read
DODGE = 7.0  # marks of models that cost the same, so that their bars can be told apart
LEAST_SPAN = 0.01  # a percentage point: less is no difference to look at


@dataclass(frozen=True)
class Model:
    """A role's cost (above 0) and its accuracy, with the standard error of that."""

    role: str
    cost: float
    accuracy: float
    error: float = 0.0


def tradeoff(name: str, models: Sequence[Model], *, title: str, x_says: str, x_format: Callable[[float], str]) -> str:
    """A mark for each model; empty text where there is none. Costs are drawn by their ratios."""
    drawn = [model for model in models if model.cost > 0]
    if not drawn:
        return ""
    of_role = looks(model.role for model in drawn)
    ends = [end for model in drawn for end in (model.accuracy - model.error, model.accuracy + model.error)]
    x = Scale(*around_ratios((model.cost for model in drawn), room=1.6), LEFT, WIDTH - RIGHT, log=True)
    y = Scale(*around(ends, least=LEAST_SPAN, room=0.12), HEIGHT - BOTTOM, 24.0)

    parts = [
        axes(
            x,
            y,
            x_says=x_says,
            y_says="accuracy on the test split",
            x_format=x_format,
            y_format=per_cent_of_tick,
        )
    ]
    place_of = dodged(drawn, x)
    # Student and control cost the same, and labels from both sides may meet in the middle: all are pushed apart.
    middle = (LEFT + WIDTH - RIGHT) / 2
    from_the_top = sorted(drawn, key=lambda model: -model.accuracy)
    rows = spread([y(model.accuracy) for model in from_the_top], y.stop, y.start)
    for model, place in zip(from_the_top, rows, strict=True):
        look, right, up = of_role[model.role], place_of[model.role], y(model.accuracy)
        span = f"M{right:.1f} {y(model.accuracy - model.error):.1f}V{y(model.accuracy + model.error):.1f}"
        words = f"{in_words(model.role)} {per_cent(model.accuracy)}"
        is_left = right <= middle
        towards = 12.0 if is_left else -12.0
        parts += [
            element("path", d=f"M{right:.1f} {up:.1f}L{right + towards:.1f} {place:.1f}", class_="leader"),
            element("path", d=span, class_=f"error {look.css}"),
            mark(look, right, up),
            label(words, right + 1.2 * towards, place + 4, anchor=None if is_left else "end"),
        ]
    says = "; ".join(
        f"{in_words(model.role)}: {per_cent(model.accuracy)} (± {per_cent(model.error)}) at {x_format(model.cost)}"
        for model in drawn
    )
    return picture(name, *parts, title=title, says=f"{says}.", width=WIDTH, height=HEIGHT)


def dodged(models: Sequence[Model], x: Scale) -> dict[str, float]:
    """Where each role's mark is: those that would be at one place are side by side."""
    places: dict[str, float] = {}
    for model in models:
        taken = sum(abs(x(model.cost) - x(other.cost)) < DODGE for other in models if other.role in places)
        places[model.role] = x(model.cost) + taken * DODGE
    return places


def spread(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Places of labels from the top down: near their own, `APART` from one another, all within the picture."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + APART) if found else max(place, top))
    for number in range(len(found) - 1, -1, -1):
        limit = bottom - 4 if number == len(found) - 1 else found[number + 1] - APART
        found[number] = min(found[number], limit)
    return found
