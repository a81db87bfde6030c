"""How sure a model is, and how often it is right when it is so sure: what a reliability diagram is drawn of."""

from typing import Any

import torch
from torch import Tensor

from kd.evaluation.scores import BINS, bins_of

# Shapes: N = images, C = classes, K = bins.


def reliability(logits_NC: Tensor, labels_N: Tensor) -> dict[str, list[Any]]:
    """By equal bins of confidence, from unsure to sure: `images`, and of those the mean `confidence` and the `accuracy`
    (None in a bin without images). The calibration error is the gap of the two, averaged over the images (Guo et al.,
    2017; the diagram: DeGroot & Fienberg, 1983)."""
    confidence_N, predicted_N = logits_NC.double().softmax(dim=1).max(dim=1)
    correct_N = (predicted_N == labels_N.to(predicted_N.device)).double()
    bin_N = bins_of(confidence_N)

    images_K = torch.bincount(bin_N, minlength=BINS)
    confidence_K, accuracy_K = (
        torch.zeros(BINS, dtype=torch.float64, device=bin_N.device).index_add(0, bin_N, value_N) / images_K
        for value_N in (confidence_N, correct_N)
    )
    counts = images_K.tolist()
    return {
        "images": counts,
        "confidence": [value if count else None for value, count in zip(confidence_K.tolist(), counts, strict=True)],
        "accuracy": [value if count else None for value, count in zip(accuracy_K.tolist(), counts, strict=True)],
    }
