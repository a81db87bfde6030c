"""How good logits are, how sure of themselves, how like others."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Shapes: N = images, C = classes.

BINS = 15  # of the calibration error, as in Guo et al., 2017


def score(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Accuracy (`top1`, and `top5` where there are more than five classes), `nll` in nats, calibration error `ece`."""
    logits_NC, labels_N = logits_NC.double(), labels_N.to(logits_NC.device)
    confidence_N, predicted_N = logits_NC.softmax(dim=1).max(dim=1)
    correct_N = predicted_N == labels_N
    scores = {"top1": correct_N.double().mean().item()}
    if logits_NC.shape[1] > 5:
        in_five_N = (logits_NC.topk(5, dim=1).indices == labels_N[:, None]).any(dim=1)
        scores["top5"] = in_five_N.double().mean().item()
    scores["nll"] = F.cross_entropy(logits_NC, labels_N).item()
    scores["ece"] = calibration_error(confidence_N, correct_N)
    return scores


def is_finite(scores: dict[str, float]) -> bool:
    """Whether every score is a number. Of a model that answers NaN, say, the accuracy is one, and the NLL is not."""
    return all(map(math.isfinite, scores.values()))


def calibration_error(confidence_N: Tensor, correct_N: Tensor) -> float:
    """The gap between how sure and how right, averaged over equal bins of confidence (i/15, (i+1)/15]."""
    bin_N = bins_of(confidence_N)
    surplus_N = confidence_N - correct_N.to(confidence_N.dtype)
    # In a bin, n · |accuracy − confidence| is just the size of the summed surplus.
    gaps = torch.zeros(BINS, dtype=confidence_N.dtype, device=confidence_N.device).index_add(0, bin_N, surplus_N)
    return (gaps.abs().sum() / len(confidence_N)).item()


def bins_of(confidence_N: Tensor) -> Tensor:
    """In which of the bins each image is: int64 [N]."""
    return (confidence_N * BINS).ceil().long().sub(1).clamp(0, BINS - 1)


def agreement(a_NC: Tensor, b_NC: Tensor) -> float:
    """The share of images that both put into the same class."""
    return (a_NC.argmax(dim=1) == b_NC.to(a_NC.device).argmax(dim=1)).double().mean().item()
