"""The report on a teacher as a page: a function of it alone."""

from typing import Any, NamedTuple

from kd.data.parts import Name
from kd.report.pictures import numbers
from kd.report.pictures.numbers import finite
from kd.report.shown import drawn
from kd.report.shown.html import render
from kd.report.shown.recipe import machine

Report = dict[str, Any]

LISTED = 100  # classes, the worst first
MISTAKES = 12  # pairs of classes, the commonest first
SPLITS: tuple[Name, ...] = ("train", "validation", "test")
MEASURES = (
    ("accuracy", "top1", numbers.per_cent),
    ("in the first five", "top5", numbers.per_cent),
    ("mean over the classes", "balanced_accuracy", numbers.per_cent),
    ("macro F1", "macro_f1", numbers.per_cent),
    ("NLL in nats", "nll", numbers.nats),
    ("calibration error", "ece", numbers.per_cent),
)


class OfClass(NamedTuple):
    name: str
    images: int
    accuracy: float
    taken_for: str | None
    """Where it is mistaken, most often."""


class Mistake(NamedTuple):
    name: str
    taken_for: str
    images: int


def teacher_page(report: Report) -> str:
    """HTML of a report as `kd.report.teacher` makes it."""
    splits = [name for name in SPLITS if name in report["images"]]
    classes, detail = _classes(report), report["in_detail"]
    mistakes = _mistakes(report)
    return render(
        "teacher.html",
        report=report,
        accuracy=numbers.per_cent(report["metrics"][f"teacher.{detail}.top1"]),
        splits=splits,
        rows=_rows(report, splits),
        size=_size(report),
        reliability=dict(drawn.reliabilities(report)).get("teacher"),
        classes=classes[:LISTED],
        all_classes=len(classes),
        mistakes=mistakes[:MISTAKES],
        all_mistakes=len(mistakes),
        suspects={name: report["suspects"][name] for name in reversed(splits) if report["suspects"].get(name)},
        machine=machine(report),
    )


def _rows(report: Report, splits: list[Name]) -> list[tuple[str, list[str]]]:
    metrics = report["metrics"]
    found = [("images", [numbers.count(report["images"][name]) for name in splits])]
    for what, which, show in MEASURES:
        if f"teacher.{splits[0]}.{which}" in metrics:
            found.append((what, [show(metrics[f"teacher.{name}.{which}"]) for name in splits]))
    return found


def _size(report: Report) -> list[tuple[str, str]]:
    metrics = report["metrics"]
    told = {"parameters": "parameters", "macs": "multiply-accumulates for one image"}
    return [
        (what, numbers.count(metrics[f"teacher.{which}"]))
        for which, what in told.items()
        if metrics.get(f"teacher.{which}")
    ]


def _classes(report: Report) -> list[OfClass]:
    """Those that have images, the worst first."""
    confusion, found = report["confusion"]["teacher"], []
    for name, of_class in report["per_class"].items():
        accuracy = finite(of_class["teacher"])
        if accuracy is not None:
            taken = confusion.get(name, {})
            wrong = {other: count for other, count in taken.items() if other != name}
            found.append(OfClass(name, sum(taken.values()), accuracy, max(wrong, key=wrong.__getitem__, default=None)))
    return sorted(found, key=lambda one: one.accuracy)


def _mistakes(report: Report) -> list[Mistake]:
    found = [
        Mistake(name, other, count)
        for name, taken in report["confusion"]["teacher"].items()
        for other, count in taken.items()
        if other != name
    ]
    return sorted(found, key=lambda one: -one.images)
