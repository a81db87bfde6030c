"""The report: teacher, student and control side by side, as one JSON document."""

import math
from typing import Any

from kd.evaluation.confusion import Confusion
from kd.spec import Config, GuideConfig


def document(config: Config, found: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """What an evaluation found, with the config and the time that each phase took."""
    remarks = [remark["message"] for remark in found["remarks"]]
    mode = "guide" if isinstance(config, GuideConfig) else "train"
    # The answer first. (What an earlier version has found, and left in a resume state, has none.)
    head = {"verdict": found.get("verdict"), "mode": mode, "config": config.model_dump(mode="json")}
    return head | found | {"seconds": seconds, "remarks": remarks}


def class_by_class(classes: tuple[str, ...], confusions: dict[str, Confusion]) -> dict[str, Any]:
    """For each role the accuracy of each class (None without test images), and which class was taken for which."""
    recalls = {role: confusion.recall_C.tolist() for role, confusion in confusions.items()}
    return {
        "per_class": {
            name: {
                role: None if math.isnan(recall_C[number]) else recall_C[number] for role, recall_C in recalls.items()
            }
            for number, name in enumerate(classes)
        },
        "confusion": {role: taken_for(classes, confusion) for role, confusion in confusions.items()},
    }


def taken_for(classes: tuple[str, ...], confusion: Confusion) -> dict[str, dict[str, int]]:
    """`{"cat": {"cat": 95, "dog": 5}}`: of the images of a class, how many were put into which."""
    told: dict[str, dict[str, int]] = {}
    for label, predicted, images in confusion.pairs():
        told.setdefault(classes[label], {})[classes[predicted]] = images
    return told
