"""The reliability diagram: how often a model is right when it says that it is so sure."""

from collections.abc import Sequence

from kd.report.pictures.frame import BOTTOM, LEFT, RIGHT, axes
from kd.report.pictures.looks import Look, in_words
from kd.report.pictures.numbers import count, per_cent
from kd.report.pictures.scales import Scale
from kd.report.pictures.svg import element, label, picture

WIDTH, HEIGHT = 290.0, 280.0  # narrower than others, because there is one for each role
SHARES = 44.0  # as high as the images of each bin are drawn, below


def reliability(
    name: str,
    role: str,
    look: Look,
    images: Sequence[int],
    confidence: Sequence[float | None],
    accuracy: Sequence[float | None],
    *,
    title: str,
) -> str:
    """Bars of accuracy over equal bins of confidence, from 0 to 1; on the dashed line a model knows itself. Below, how
    many of the images are in each bin. Empty text where there are none."""
    total = sum(images)
    if not total:
        return ""
    x = Scale(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, HEIGHT - BOTTOM - SHARES - 12, 28.0)
    floor, most = HEIGHT - BOTTOM, max(images)
    parts = [
        axes(x, y, x_says="", y_says="accuracy", x_format=lambda _: "", y_format=lambda value: per_cent(value, 0)),
        element("path", d=f"M{x(0):.1f} {floor:.1f}H{x(1):.1f}", class_="axis"),
        *(label(per_cent(value, 0), x(value), floor + 15, anchor="middle", class_="tick") for value in x.ticks()),
        label("confidence, and where the images are", (x(0) + x(1)) / 2, floor + 30, anchor="middle", class_="tick"),
    ]
    width = (x(1) - x(0)) / len(images)
    for number, (count_here, sure, right) in enumerate(zip(images, confidence, accuracy, strict=True)):
        left = x(0) + number * width + 1
        if not count_here or sure is None or right is None:
            continue
        high = count_here / most * (SHARES - 4)
        bar = {"x": left, "width": width - 2}
        parts += [
            element("rect", **bar, y=floor - high, height=max(high, 0.7), class_=f"share {look.css}"),
            element("rect", **bar, y=y(right), height=y(0) - y(right), class_=f"bar {look.css}"),
            # The gap to how sure it was: above the bar it boasts, within it is modest.
            element("rect", **bar, y=min(y(right), y(sure)), height=max(abs(y(sure) - y(right)), 0.5), class_="gap"),
        ]
    parts.append(element("path", d=f"M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}", class_="ideal"))
    known = zip(images, confidence, accuracy, strict=True)
    sure, right = (
        sum(weight * value for weight, value in zip(images, column, strict=True) if value is not None) / total
        for column in (confidence, accuracy)
    )
    filled = sum(1 for weight, *_ in known if weight)
    says = (
        f"Over {count(total)} images the {in_words(role)} is {per_cent(sure, 1)} sure and {per_cent(right, 1)} right; "
        f"{filled} of {len(images)} bins have images."
    )
    return picture(name, *parts, title=title, says=says, width=WIDTH, height=HEIGHT)
