"""How many images each class has: a bar for each, in parts by split."""

from collections.abc import Sequence
from typing import NamedTuple

from kd.report.pictures.frame import WIDTH
from kd.report.pictures.numbers import count
from kd.report.pictures.scales import Scale
from kd.report.pictures.svg import element, label, picture, shortened

ROW = 18.0
NAME, NAME_CHARACTERS = 112.0, 15  # as wide as a class's name may be
VALUE = 44.0
CSS = {"train": "role-student", "validation": "role-other-2", "test": "role-teacher"}


class Bar(NamedTuple):
    name: str
    images: Sequence[int]  # of each split, as `CSS` has them

    @property
    def total(self) -> int:
        return sum(self.images)


def bars(name: str, largest: Sequence[Bar], smallest: Sequence[Bar] = (), *, between: int = 0, title: str) -> str:
    """A row for each class, the largest first; `between` classes are only counted. Empty text where there are none."""
    shown = [*largest, *smallest]
    if not shown:
        return ""
    x = Scale(0.0, max(1, *(bar.total for bar in shown)), NAME, WIDTH - VALUE)
    parts, y = [_legend(shown)], ROW + 4.0
    for number, bar in enumerate(shown):
        if between and number == len(largest):
            words = f"… {count(between)} classes between …"
            parts.append(label(words, (x.start + x.stop) / 2, y + 13, anchor="middle", class_="tick"))
            y += ROW
        parts.append(label(shortened(bar.name, NAME_CHARACTERS), NAME - 4, y + 13, anchor="end"))
        done = 0
        for css, images in zip(CSS.values(), bar.images, strict=True):
            if images:
                width = max(x(done + images) - x(done), 0.7)
                parts.append(
                    element("rect", x=x(done), y=y + 3, width=width, height=ROW - 6, class_=f"bar {css}"),
                )
            done += images
        parts.append(label(count(bar.total), x(done) + 4, y + 13, class_="tick"))
        y += ROW
    ends = (f"{shortened(bar.name, 60)} ({count(bar.total)} images)" for bar in (shown[0], shown[-1]))
    return picture(name, *parts, title=title, says=f"From {' to '.join(ends)}.", width=WIDTH, height=y + 6)


def _legend(shown: Sequence[Bar]) -> str:
    parts, left = [], NAME
    for number, (split, css) in enumerate(CSS.items()):
        if any(bar.images[number] for bar in shown):
            parts.append(element("rect", x=left, y=6.0, width=10.0, height=10.0, class_=f"bar {css}"))
            parts.append(label(split, left + 14, 15.0, class_="tick"))
            left += 80
    return "".join(parts)
