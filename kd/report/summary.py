"""What the seeds of a run come to together: means and their spread, gains, and which student is offered."""

import statistics
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from kd.report.gain import CONFIDENCE, Gain, gain
from kd.training.resuming.position import Measured, Scores, is_better

BASELINES = ("control", "label_smoothing")


def best_of(measured: Sequence[Measured]) -> Measured:
    """The seed whose student is offered: the best on the validation split, of equals the first."""
    return reduce(lambda best, one: one if is_better(one.student_scores, best.student_scores) else best, measured)


def gains_of(measured: Sequence[Measured], labels_N: Tensor) -> dict[str, Gain]:
    """What the students gain over each baseline that was trained, each over its own of the same seed."""

    def hits_SN(role: str) -> Tensor:
        return torch.stack([one.predicted[role] for one in measured]) == labels_N

    return {role: gain(hits_SN("student"), hits_SN(role)) for role in BASELINES if role in measured[0].predicted}


def metrics_of(measured: Sequence[Measured], gains: Mapping[str, Gain]) -> Scores:
    """The report's numbers. Those of a role are those of the seed whose student is offered; of several seeds there is a
    `.mean` and a `.std` beside each that was measured on the test split."""
    best = best_of(measured)
    metrics = measured[0].metrics | best.metrics  # the teacher, and what models cost, were measured once
    metrics["seeds"] = len(measured)
    if len(measured) > 1:
        for name in [name for name in best.metrics if ".test." in name and not name.startswith("teacher.")]:
            values = [one.metrics[name] for one in measured]
            metrics |= {f"{name}.mean": statistics.fmean(values), f"{name}.std": statistics.stdev(values)}
    for role, found in gains.items():
        name = "gain" if role == "control" else f"gain_over_{role}"
        metrics[name] = found.mean
        if found.std is not None:
            metrics[f"{name}.std"] = found.std
        metrics |= {f"{name}.{which}": getattr(found, which) for which in ("standard_error", "low", "high")}
    return metrics


def seed_by_seed(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Each seed's own numbers."""
    best = best_of(measured)
    told: list[dict[str, Any]] = []
    for one in measured:
        metrics = {name: value for name, value in one.metrics.items() if not name.startswith("teacher.")}
        for role in BASELINES:
            if role in one.predicted:
                name = "gain" if role == "control" else f"gain_over_{role}"
                metrics[name] = metrics["student.test.top1"] - metrics[f"{role}.test.top1"]
        told.append({"seed": one.seed, "is_offered": one is best, "metrics": metrics})
    return told


def comparisons(gains: Mapping[str, Gain]) -> dict[str, Any]:
    """Each gain, how sure it is, and what its error is made of: of two variances, that of seeds and that of images."""
    told = {}
    for role, found in gains.items():
        from_seeds, from_images = found.variances
        told[role] = {
            "code": found.code,
            "gain": found.mean,
            "std": found.std,
            "standard_error": found.standard_error,
            "standard_error_of_seeds": None if from_seeds is None else from_seeds**0.5,
            "standard_error_of_images": from_images**0.5,
            "confidence": CONFIDENCE,
            "low": found.low,
            "high": found.high,
            "seeds": found.seeds,
            "images": found.images,
        }
    return told
