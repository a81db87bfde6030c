"""Teacher, student, control and whoever else was measured, side by side: what page and model card show as a table."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from kd.report.pictures import numbers
from kd.report.pictures.looks import in_order

Report = dict[str, Any]


class Row(NamedTuple):
    """A measure in words, and what each role got, in the order of `roles`."""

    name: str
    cells: tuple[str, ...]


# What is measured, as metrics name it behind the role, and how it is said. Of models of one architecture the cost is
# measured once.
SCORES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Top-5 accuracy", "test.top5", numbers.per_cent),
    ("Balanced accuracy", "test.balanced_accuracy", numbers.per_cent),
    ("Macro F1", "test.macro_f1", numbers.per_cent),
    ("Negative log-likelihood, nats", "test.nll", numbers.nats),
    ("Expected calibration error", "test.ece", numbers.per_cent),
    ("Agreement with the teacher", "test.agreement", numbers.per_cent),
    ("Accuracy after the last epoch", "last.test.top1", numbers.per_cent),
    ("Accuracy, validation split", "validation.top1", numbers.per_cent),
    ("Best epoch, on validation", "best_epoch", numbers.count),
)
COSTS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Parameters", "parameters", numbers.short),
    ("Multiply-accumulates, one image", "macs", numbers.short),
    ("Weights", "bytes", numbers.size),
    ("Latency, one image", "latency_seconds.batch1", numbers.duration),
    ("Latency, 64 images", "latency_seconds.batch64", numbers.duration),
)


def roles(report: Report) -> list[str]:
    """Who was measured on the test split: teacher, student and control first, as far as they are there; the members of
    a committee after them."""
    suffix = ".test.top1"
    named = [name.removesuffix(suffix) for name in report.get("metrics", {}) if name.endswith(suffix)]
    last = {role for role in named if role.endswith(".last")}  # the same after the last epoch
    return [role for role in in_order(named) if role not in last and accuracy(report, role) is not None]


def rows(report: Report) -> list[Row]:
    """The table; a measure that nobody has is left out."""
    of_whom = roles(report)
    told = [Row("Architecture", tuple(arch(report, role) or numbers.UNKNOWN for role in of_whom))]
    told.append(Row("Accuracy, test split", tuple(with_error(report, role) for role in of_whom)))
    told.append(Row("The same, mean over seeds", tuple(over_seeds(report, role) for role in of_whom)))
    for name, which, say in SCORES:
        told.append(Row(name, tuple(say(report["metrics"].get(f"{role}.{which}")) for role in of_whom)))
    for name, which, say in COSTS:
        told.append(Row(name, tuple(say(cost(report, role, which)) for role in of_whom)))
    return [row for row in told if set(row.cells) != {numbers.UNKNOWN}]


def accuracy(report: Report, role: str) -> float | None:
    return numbers.finite(report["metrics"].get(f"{role}.test.top1"))


def accuracy_error(report: Report, role: str) -> float:
    """The standard error of an accuracy, that of a share of so many images: 0 where their number is not known."""
    images, share = numbers.finite(report["metrics"].get("test.images")), accuracy(report, role)
    return math.sqrt(max(share * (1 - share), 0.0) / images) if images and share is not None else 0.0


def with_error(report: Report, role: str) -> str:
    """`97.31 % ± 0.36`"""
    error = accuracy_error(report, role)
    return numbers.per_cent(accuracy(report, role)) + (f" ± {error * 100:.2f}" if error else "")


def over_seeds(report: Report, role: str) -> str:
    """`97.21 % ± 0.12`: mean and standard deviation over the seeds, where there were several."""
    mean, deviation = (numbers.finite(report["metrics"].get(f"{role}.test.top1.{which}")) for which in ("mean", "std"))
    if mean is None or deviation is None:
        return numbers.UNKNOWN
    return f"{numbers.per_cent(mean)} ± {deviation * 100:.2f}"


def cost(report: Report, role: str, which: str) -> float | None:
    """What a role's model costs, or that of another role of the same architecture."""
    own = numbers.finite(report["metrics"].get(f"{role}.{which}"))
    if own is not None or arch(report, role) is None:
        return own
    twins = [twin for twin in report.get("archs", {}) if twin != role and arch(report, twin) == arch(report, role)]
    found = (numbers.finite(report["metrics"].get(f"{twin}.{which}")) for twin in twins)
    return next((value for value in found if value is not None), None)


def arch(report: Report, role: str) -> str | None:
    given = report.get("archs", {}).get(role)
    return None if given is None else str(given)


def is_labels(report: Report) -> bool:
    """Whether no model teaches, but labels that somebody brought."""
    return "labels" in report["config"].get("teacher", {})


def times(report: Report, which: str) -> float | None:
    """How many times what the student costs the teacher does; None where either is not known."""
    teacher, student = cost(report, "teacher", which), cost(report, "student", which)
    return teacher / student if teacher and student else None
