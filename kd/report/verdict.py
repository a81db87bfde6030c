"""Was distillation worth it? The answer in words, and how sure it is."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from kd.evaluation.chance import weakness

Metrics = dict[str, float]


class Remark(NamedTuple):
    code: str
    message: str


def remarks(metrics: Metrics, predictions: dict[str, Tensor], labels_N: Tensor) -> Iterator[Remark]:
    """The sentences a reader needs beside the numbers."""
    student = {which: metrics[f"student.test.{which}"] for which in ("top1", "nll")}
    if weak := weakness(student, labels_N, predictions["student"].shape[1]):
        yield Remark("weak_student", f"The student {weak}. Look at its learning rate, its epochs and the data first.")
    if "control" not in predictions:
        yield Remark("no_control", "There was no control, so nobody can say what the teacher was worth.")
        return
    if metrics["teacher.test.top1"] <= metrics["control.test.top1"]:
        yield Remark(
            "teacher_not_better",
            f"The teacher ({metrics['teacher.test.top1']:.1%}) is not better than the student trained without "
            f"it ({metrics['control.test.top1']:.1%}): look for a better teacher first.",
        )
    yield Remark("verdict", verdict(metrics, gain_error(predictions, labels_N)))


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
