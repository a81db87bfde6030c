"""A report as a run leaves it, in whatever shape a test wants."""

from typing import Any

from kd.report.document import document
from kd.spec import parse

BINS = 15


def a_report(
    roles: tuple[str, ...] = ("teacher", "student", "control"),
    classes: tuple[str, ...] = ("cat", "dog", "fox"),
    *,
    name: str = "packed/pets",
    disputed: int = 2,
    suspects: int = 2,
    epochs: int = 12,
    **changes: Any,
) -> dict[str, Any]:
    """`changes` replace parts of the report."""
    top1 = {role: 0.97 - 0.01 * number for number, role in enumerate(roles)}
    archs = {role: "cnn" if role == "teacher" else "mlp" for role in roles}
    metrics: dict[str, Any] = {"test.images": 1_000} | ({"gain": 0.012} if "control" in roles else {})
    for role in roles:
        metrics |= {f"{role}.test.top1": top1[role], f"{role}.test.nll": 0.2, f"{role}.test.ece": 0.03}
        metrics |= {f"{role}.last.test.top1": top1[role], f"{role}.best_epoch": epochs, f"{role}.epochs": epochs}
        metrics |= {f"{role}.validation.top1": 0.95}
    for role, parameters in (("teacher", 136_000), ("student", 50_900)):
        if role in roles:
            metrics |= {
                f"{role}.parameters": parameters,
                f"{role}.macs": 9 * parameters,
                f"{role}.bytes": 4 * parameters,
            }
            metrics |= {f"{role}.latency_seconds.batch1": parameters * 1e-9, f"{role}.latency_seconds.batch64": 1e-3}
    says = {role: [[classes[number % len(classes)], 0.9]] for number, role in enumerate(roles)}
    found = {
        "verdict": {"code": "better", "message": "BETTER: the student beats the control by 1.20 points."},
        "remarks": [{"code": "verdict", "message": "BETTER: the student beats the control by 1.20 points."}],
        "dataset": {"name": name, "classes": len(classes), "shape": [1, 28, 28], "digest": "d" * 64}
        | {"train": 4_000, "validation": 400, "test": 1_000},
        "archs": archs,
        "extensions": [],
        "metrics": metrics,
        "per_class": {
            one: {role: 0.9 + (number + place) % 7 / 100 for place, role in enumerate(roles)}
            for number, one in enumerate(classes)
        },
        "confusion": {role: {one: {one: 97, classes[0]: 3} for one in classes} for role in roles},
        "curves": {
            role: {
                "epoch": list(range(1, epochs + 1)),
                "train.loss": [1 / epoch for epoch in range(1, epochs + 1)],
                "train.hard_loss": [2 / epoch for epoch in range(1, epochs + 1)],
                "validation.top1": [1 - 0.5 / epoch for epoch in range(1, epochs + 1)],
            }
            for role in roles
        },
        "reliability": {
            role: {
                "images": [0] * 10 + [5, 15, 80, 200, 700],
                "confidence": [None] * 10 + [0.7, 0.77, 0.83, 0.9, 0.99],
                "accuracy": [None] * 10 + [0.6, 0.8, 0.8, 0.91, 0.98],
            }
            for role in roles
        },
        "disputed": [
            {
                "number": number,
                "label": classes[0],
                "divergence": 0.5,
                "says": says,
                "png": "data:image/png;base64,AAAA",
            }
            for number in range(disputed if "teacher" in roles else 0)
        ],
        "suspects": [
            {
                "number": number,
                "label": classes[0],
                "probability": 0.01,
                "says": [[classes[-1], 0.98]],
                "png": "data:image/png;base64,AAAA",
            }
            for number in range(suspects if "teacher" in roles else 0)
        ],
        "made_with": {"device": "CPU", "cpu": "A processor", "cores": 2, "threads": 1, "versions": {"torch": "2.13"}},
    }
    config = parse({"mode": "train", "config": {"dataset": "digits", "teacher": {"arch": "cnn_small"}}}).config
    return document(config, found, {"teacher": 30.5, "student": 12.25, "control": 11.0}) | changes
