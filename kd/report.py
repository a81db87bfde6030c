"""Was distillation worth it? Teacher, student and control side by side, and the answer in words."""

import math
from collections.abc import Iterator

from torch import Tensor

from kd.data import Dataset
from kd.events import Noted
from kd.spec import Config

Metrics = dict[str, float]


def remarks(metrics: Metrics, predictions: dict[str, Tensor], labels_N: Tensor) -> Iterator[Noted]:
    """The sentences a reader needs beside the numbers."""
    if "control" not in predictions:
        yield Noted(code="no_control", message="There was no control, so nobody can say what the teacher was worth.")
        return
    if metrics["teacher.test.top1"] <= metrics["control.test.top1"]:
        yield Noted(
            code="teacher_not_better",
            message=f"The teacher ({metrics['teacher.test.top1']:.1%}) is not better than the student trained without "
            f"it ({metrics['control.test.top1']:.1%}): look for a better teacher first.",
        )
    yield Noted(code="verdict", message=verdict(metrics, gain_error(predictions, labels_N)))


def verdict(metrics: Metrics, error: float) -> str:
    """Whether the student beat the control, by how much, and whether that is more than chance."""
    gain, images = metrics["gain"], int(metrics["test.images"])
    measured = (
        f"{abs(gain) * 100:.2f} points (± {error * 100:.2f}, one standard error on {images} test images, one seed)"
    )
    if abs(gain) <= 2 * error:
        return f"Undecided: student and control differ by {measured}. Use more test images or repeat with other seeds."
    if gain > 0:
        return f"Distillation was worth it: the student beats the control by {measured}."
    return f"Distillation was not worth it: the student is worse than the control by {measured}."


def gain_error(predictions: dict[str, Tensor], labels_N: Tensor) -> float:
    """The standard error of `gain`, paired: only images on which student and control differ count (McNemar 1947)."""
    student_N = predictions["student"].argmax(dim=1) == labels_N
    control_N = predictions["control"].argmax(dim=1) == labels_N
    return math.sqrt(max((student_N != control_N).sum().item(), 1)) / len(labels_N)


def report(
    config: Config,
    dataset: Dataset,
    metrics: Metrics,
    seconds: dict[str, float],
    archs: dict[str, str],
    predictions: dict[str, Tensor],
    labels_N: Tensor,
) -> dict[str, object]:
    """Everything above as one JSON document, with the accuracy of each class."""
    return {
        "config": config.model_dump(mode="json"),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "test": len(dataset.test.labels),
        },
        "archs": {role: arch for role, arch in archs.items() if role in predictions},
        "metrics": metrics,
        "seconds": seconds,
        "remarks": [note.message for note in remarks(metrics, predictions, labels_N)],
        "per_class": {
            name: {role: class_accuracy(logits_NC, labels_N, number) for role, logits_NC in predictions.items()}
            for number, name in enumerate(dataset.classes)
        },
    }


def class_accuracy(logits_NC: Tensor, labels_N: Tensor, number: int) -> float | None:
    """The share of a class's images that are recognised; None for a class without test images."""
    of_class_N = labels_N == number
    images = int(of_class_N.sum())
    return int((logits_NC.argmax(dim=1)[of_class_N] == number).sum()) / images if images else None
