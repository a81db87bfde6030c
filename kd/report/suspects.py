"""The images to learn from whose label the teacher is sure is another: each is a mistake of one of the two."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd import liveness
from kd.data.splits import Split
from kd.report.thumbnails import data_uri

SURE, RULED_OUT = 0.9, 0.05
SHOWN = 24
SAID = 3  # classes the teacher names of an image, the likeliest first
VIEWS = 4  # of each image, evenly from all that are labelled: more say hardly more, and a table may be large
AT_ONCE = 1 << 20  # numbers of a table

# Shapes: N = images, V = views of each, C = classes, B = a block of images, K = those shown.


def most_suspect(
    table_NVC: NDArray[np.floating[Any]], split: Split, classes: tuple[str, ...], *, shown: int = SHOWN
) -> list[dict[str, Any]]:
    """The images of `split`, the surest first, to which the teacher gives another class with a probability of at least
    `SURE`, and their own with at most `RULED_OUT`. Its labels are logits in the order of the split's images.

    Probabilities are means over a few views. An image is its `number` in the data set, its `label`, the `probability`
    of that, the likeliest classes `[name, probability]`, and a PNG.
    """
    views = table_NVC.shape[1]
    columns = [place * views // min(views, VIEWS) for place in range(min(views, VIEWS))]
    images = max(1, AT_ONCE // (len(columns) * len(classes)))
    found: list[tuple[float, int, Tensor]] = []  # how sure, which image, the probabilities
    for first in range(0, len(table_NVC), images):
        logits_BVC = torch.from_numpy(table_NVC[first : first + images, columns, : len(classes)]).float()
        probability_BC = logits_BVC.softmax(dim=2).mean(dim=1)
        label_B = split.labels[first : first + images]
        is_ruled_out_B = probability_BC.gather(1, label_B[:, None]).flatten() <= RULED_OUT
        # The surest so far are enough, of equal ones the first: it may be that nearly all are suspect.
        sure_B, image_B = probability_BC.amax(dim=1).mul(is_ruled_out_B).sort(descending=True, stable=True)
        for sure, image in zip(sure_B[:shown].tolist(), image_B[:shown].tolist(), strict=True):
            if sure >= SURE:
                found.append((sure, first + image, probability_BC[image].clone()))
        found = sorted(found, key=lambda one: (-one[0], one[1]))[:shown]
        liveness.advance()
    return [_told(split, image, probability_C, classes) for _, image, probability_C in found]


def _told(split: Split, image: int, probability_C: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    label = int(split.labels[image])
    likeliest = probability_C.topk(min(SAID, len(classes)))
    said = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return {
        "number": int(split.numbers[image]),
        "label": classes[label],
        "probability": probability_C[label].item(),
        "says": [[classes[number], probability] for number, probability in said],
        "png": data_uri(split.pixels(image)),
    }
