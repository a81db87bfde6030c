"""The members of a sweep as a picture: accuracy against size, and against latency. SVG, and nothing else needed."""

from collections.abc import Callable, Sequence
from importlib import resources
from typing import NamedTuple

from jobs.sweeps import standings
from jobs.sweeps.space import words
from jobs.sweeps.standings import Standing
from kd.report.pictures import numbers
from kd.report.pictures.frame import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, axes
from kd.report.pictures.scales import Scale, around, around_ratios
from kd.report.pictures.svg import element, escaped, label, picture

HEADER, APART, MARGIN = 46.0, 24.0, 12.0  # above the panels, between them, and at both sides
LEAST_SPAN = 0.002

# What a page has around its pictures; and a member is not a role, but on the front or not.
STYLE = """
.picture { max-width: 76rem; font-family: system-ui, sans-serif; }
.picture .title { font-size: 14px; font-weight: 600; }
.back { fill: var(--card); } .on-front { --role: var(--student); }
.picture .leads { fill: none; stroke: var(--student); } .picture .beaten { fill: none; stroke: var(--control); }
"""


class Cost(NamedTuple):
    """What a panel holds accuracy against."""

    says: str
    of: Callable[[Standing], float | None]
    said: Callable[[float], str]


COSTS = (
    Cost("parameters", lambda one: one.parameters, numbers.short),
    Cost("latency of one image", lambda one: one.latency_seconds, numbers.duration),
)


class Member(NamedTuple):
    """One that can be drawn."""

    standing: Standing
    cost: float
    accuracy: float


def draw(title: str, found: Sequence[Standing]) -> str:
    """Members that have succeeded: those on the front are filled, and a line joins those that lead in a panel."""
    shown = [one for one in found if one.succeeded and one.validation is not None]
    front = standings.front(found)
    summary = f"{len(shown)} of {len(found)} members have succeeded; {len(front)} are on the Pareto front (filled)"
    width = 2 * (WIDTH + MARGIN) + APART
    return picture(
        "pareto",
        element("style", _style()),
        element("rect", width=width, height=HEADER + HEIGHT, class_="back"),
        label(f"{title}: validation accuracy against cost", MARGIN, 22, class_="title"),
        label(summary, MARGIN, 38, class_="tick"),
        *(
            element("g", *_panel(cost, shown, front), transform=f"translate({left:g} {HEADER:g})")
            for cost, left in zip(COSTS, (MARGIN, MARGIN + WIDTH + APART), strict=True)
        ),
        title=f"{title}: validation accuracy against size and latency",
        says=f"{summary}.",
        width=width,
        height=HEADER + HEIGHT,
    )


def _panel(cost: Cost, shown: Sequence[Standing], front: set[int]) -> list[str]:
    members = [
        Member(one, spent, one.validation)
        for one in shown
        if one.validation is not None and (spent := cost.of(one)) is not None and spent > 0
    ]
    if not members:
        return [label(f"No {cost.says} yet.", LEFT, 40, class_="tick")]
    x = Scale(*around_ratios(one.cost for one in members), LEFT, WIDTH - RIGHT, log=True)
    y = Scale(*around((one.accuracy for one in members), least=LEAST_SPAN), HEIGHT - BOTTOM, 24.0)
    parts = [
        axes(
            x,
            y,
            x_says=f"{cost.says}, logarithmic",
            y_says="accuracy on the validation split",
            x_format=cost.said,
            y_format=numbers.per_cent_of_tick,
        )
    ]
    if len(steps := _leaders(members)) > 1:
        corners = "L".join(f"{x(one.cost):.1f} {y(one.accuracy):.1f}" for one in steps)
        parts.append(element("path", d=f"M{corners}", class_="leads"))
    for standing, spent, accuracy in members:
        on_front, at_x, at_y = standing.number in front, x(spent), y(accuracy)
        tip = f"{standing.number}: {words(standing.point)}; {numbers.per_cent(accuracy)}, {cost.said(spent)}"
        kind = "mark on-front" if on_front else "beaten"
        parts.append(element("circle", element("title", escaped(tip)), cx=at_x, cy=at_y, r=4.5, class_=kind))
        if on_front:  # the others say who they are to whoever points at them
            parts.append(label(str(standing.number), at_x + 6, at_y - 5, class_="tick"))
    return parts


def _leaders(members: Sequence[Member]) -> list[Member]:
    """From the cheapest to the best, those that are better than all that are as cheap."""
    found: list[Member] = []
    for one in sorted(members, key=lambda member: (member.cost, -member.accuracy)):
        if not found or one.accuracy > found[-1].accuracy:
            found.append(one)
    return found


def _style() -> str:
    return resources.files("kd.report.pictures").joinpath("pictures.css").read_text("utf-8") + STYLE
