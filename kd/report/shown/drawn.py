"""A report's pictures, each as SVG; empty text where there is nothing to draw."""

from typing import Any

from markupsafe import Markup

from kd.report.pictures import numbers
from kd.report.pictures.curves import Line, curves
from kd.report.pictures.gaps import gaps
from kd.report.pictures.looks import in_order, in_words, looks
from kd.report.pictures.reliability import reliability
from kd.report.pictures.tradeoff import Model, tradeoff
from kd.report.shown import comparison
from kd.report.shown.classes import DRAWN, class_gaps, compared_with, ends

Report = dict[str, Any]

LEAST_ACCURACY = 0.02


def learning_curves(report: Report) -> list[Markup]:
    """Validation accuracy, and the cross-entropy with the labels: what all that learn have in common, whatever else
    they learn from."""
    accuracy = curves(
        "validation-accuracy",
        lines(report, "validation.top1"),
        title="Accuracy on the validation split, by epoch",
        y_says="accuracy, validation",
        y_format=numbers.per_cent_of_tick,
        least=LEAST_ACCURACY,
    )
    loss = curves(
        "training-loss",
        [line for line in lines(report, "train.hard_loss", best=False) if has_hard_loss(line.role)],
        title="Cross-entropy with the labels of the training images, by epoch",
        y_says="cross-entropy with the labels, training (nats)",
        y_format=lambda value: f"{value:.3g}",
        ratios=True,
    )
    return [Markup(one) for one in (accuracy, loss) if one]


def has_hard_loss(role: str) -> bool:
    """Whether a role's cross-entropy is that with the labels as they are: smoothed ones have another."""
    return role != "label_smoothing"


def lines(report: Report, which: str, *, best: bool = True) -> list[Line]:
    told = report.get("curves", {})
    return [
        Line(
            role,
            told[role]["epoch"],
            told[role][which],
            report["metrics"].get(f"{role}.best_epoch") if best else None,
        )
        for role in in_order(told)
        if which in told[role]
    ]


def tradeoffs(report: Report) -> list[Markup]:
    """Accuracy against parameters, and against the time for one image."""
    found = []
    for which, title, says, say in (
        ("parameters", "Accuracy against size", "parameters", numbers.short),
        ("latency_seconds.batch1", "Accuracy against latency", "latency of one image", numbers.duration),
    ):
        models = [
            Model(role, spent, share, comparison.accuracy_error(report, role))
            for role in comparison.roles(report)
            if (spent := comparison.cost(report, role, which))
            and (share := comparison.accuracy(report, role)) is not None
        ]
        found.append(tradeoff(f"against-{which.partition('.')[0]}", models, title=title, x_says=says, x_format=say))
    return [Markup(one) for one in found if one]


def reliabilities(report: Report) -> list[tuple[str, Markup]]:
    """A diagram for each role."""
    told = report.get("reliability", {})
    of_role = looks(told)
    drawn = [
        (
            role,
            reliability(
                f"reliability-{number}",
                role,
                of_role[role],
                **told[role],
                title=f"How well the {in_words(role)} knows itself",
            ),
        )
        for number, role in enumerate(in_order(told))
    ]
    return [(role, Markup(one)) for role, one in drawn if one]


def class_gap(report: Report) -> Markup:
    worst, best, between = ends(class_gaps(report), DRAWN)
    return Markup(
        gaps(
            "class-gaps",
            [(one.name, one.gap) for one in worst],
            [(one.name, one.gap) for one in best],
            between=between,
            title=f"Accuracy of each class, student minus {compared_with(report)}",
        )
    )
