"""The report: teacher, student and control side by side, as one JSON document."""

from torch import Tensor

from kd.data.dataset import Dataset
from kd.report.verdict import Metrics, remarks
from kd.spec import Config


def document(
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
