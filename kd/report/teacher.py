"""The report on a teacher that somebody has brought: how good it is on each split, and which labels it doubts."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kd.data.parts import Name
from kd.data.splits import Split
from kd.evaluation.confusion import Confusion
from kd.report.calibration import reliability
from kd.report.document import class_by_class
from kd.report.provenance import made_with
from kd.report.suspects import most_suspect
from kd.training.run import Run

# Shapes: N = images, C = classes.

TEACHER = "teacher"
# In this order one would know most of it: the first that was asked for is shown class by class.
BY_WORTH: tuple[Name, ...] = ("test", "validation", "train")


def teacher_document(
    run: Run, teacher: Mapping[str, Any], logits: Mapping[Name, Tensor], metrics: Mapping[str, float]
) -> dict[str, Any]:
    """Plain values of bounded size: what there is to say of the `teacher`, and what was found by its logits, float
    [N, C] on each split that was asked for."""
    data = run.dataset
    splits: dict[Name, Split] = {"train": data.train, "validation": data.validation, "test": data.test}
    shown = next(name for name in BY_WORTH if name in logits)
    labels_N = splits[shown].labels
    return {
        "teacher": dict(teacher),
        "dataset": {
            "name": data.name,
            "classes": len(data.classes),
            "shape": list(data.shape),
            "seen": list(run.shape),
            "digest": data.digest,
        },
        "images": {name: len(splits[name]) for name in logits},
        "metrics": dict(metrics),
        "in_detail": shown,
        **class_by_class(data.classes, {TEACHER: Confusion.of(logits[shown], labels_N)}),
        "reliability": {TEACHER: reliability(logits[shown], labels_N)},
        "suspects": {
            name: most_suspect(logits_NC.numpy()[:, None], splits[name], data.classes)
            for name, logits_NC in logits.items()
        },
        "made_with": made_with(run),
    }
