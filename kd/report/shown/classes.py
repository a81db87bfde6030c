"""Class by class: where the student lost most of what its teacher knew, and where it gained."""

from typing import Any, NamedTuple

from kd.report.pictures.numbers import finite

Report = dict[str, Any]

DRAWN = 24  # bars: of more classes the worst and the best
LISTED = 100  # rows of the table


class ClassGap(NamedTuple):
    name: str
    images: int
    student: float
    other: float

    @property
    def gap(self) -> float:
        return self.student - self.other


def compared_with(report: Report) -> str | None:
    """Whose accuracies the student's are held against: the teacher's; where it was not measured, the control's."""
    measured = set().union(*(of_class.keys() for of_class in report.get("per_class", {}).values()))
    return next((role for role in ("teacher", "control") if {role, "student"} <= measured), None)


def class_gaps(report: Report) -> list[ClassGap]:
    """The classes with test images, from the largest loss to the largest gain; none where there is nobody to compare
    with."""
    other = compared_with(report)
    if other is None:
        return []
    confusion = report.get("confusion", {}).get("student", {})
    found = []
    for name, of_class in report["per_class"].items():
        student, rival = finite(of_class.get("student")), finite(of_class.get(other))
        if student is not None and rival is not None:
            found.append(ClassGap(name, sum(confusion.get(name, {}).values()), student, rival))
    return sorted(found, key=lambda one: one.gap)


def ends(found: list[ClassGap], shown: int) -> tuple[list[ClassGap], list[ClassGap], int]:
    """The worst, the best and how many are between; where they are few enough, all as the worst."""
    if len(found) <= shown:
        return found, [], 0
    return found[: shown // 2], found[-(shown // 2) :], len(found) - shown // 2 * 2
