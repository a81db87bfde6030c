"""The test images on which student and teacher disagree most: small, with what each role says of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kd.data.splits import Split
from kd.report.thumbnails import data_uri

# Shapes: N = images, B = some of them, C = classes, K = those shown.

SHOWN = 24
SAID = 3  # classes a role names of an image, the likeliest first
AT_ONCE = 1 << 22  # probabilities, as float64 and a few at a time: of thousands of classes there are many


def most_disputed(
    logits: Mapping[str, Tensor], split: Split, classes: tuple[str, ...], *, shown: int = SHOWN
) -> list[dict[str, Any]]:
    """The images whose probabilities differ most between student and teacher, the most disputed first.

    `logits` are float [N, C] of each role on `split`; without a teacher there is no dispute. Measured as Jensen-Shannon
    divergence in nats, which is at most ln 2 and asks nobody to be right (Lin, 1991). An image is its `number` in the
    data set, its `label`, its `divergence`, for each role the likeliest classes `[name, probability]`, and a PNG.
    """
    if "teacher" not in logits or "student" not in logits:
        return []
    divergence_N = divergences(logits["student"], logits["teacher"])
    found_K = divergence_N.topk(min(shown, len(divergence_N))).indices.tolist()
    likeliest = {role: _likeliest(logits_NC[found_K], classes) for role, logits_NC in logits.items()}
    return [
        {
            "number": int(split.numbers[image]),
            "label": classes[int(split.labels[image])],
            "divergence": divergence_N[image].item(),
            "says": {role: said[place] for role, said in likeliest.items()},
            "png": data_uri(split.pixels(image)),
        }
        for place, image in enumerate(found_K)
    ]


def divergences(a_NC: Tensor, b_NC: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of two models' probabilities for each image: float64 [N], in nats."""
    images = max(1, AT_ONCE // a_NC.shape[1])
    pairs = zip(torch.split(a_NC, images), torch.split(b_NC, images), strict=True)
    return torch.cat([_divergences(a_BC, b_BC) for a_BC, b_BC in pairs])


def _divergences(a_BC: Tensor, b_BC: Tensor) -> Tensor:
    log_a_BC, log_b_BC = a_BC.double().log_softmax(dim=1), b_BC.double().log_softmax(dim=1)
    log_middle_BC = torch.logaddexp(log_a_BC, log_b_BC) - math.log(2)
    halves = [(log_BC.exp() * (log_BC - log_middle_BC)).sum(dim=1) / 2 for log_BC in (log_a_BC, log_b_BC)]
    return (halves[0] + halves[1]).clamp(min=0)


def _likeliest(logits_KC: Tensor, classes: tuple[str, ...]) -> list[list[list[Any]]]:
    probability_KS, class_KS = logits_KC.double().softmax(dim=1).topk(min(SAID, len(classes)), dim=1)
    return [
        [[classes[number], probability] for number, probability in zip(numbers, probabilities, strict=True)]
        for numbers, probabilities in zip(class_KS.tolist(), probability_KS.tolist(), strict=True)
    ]
