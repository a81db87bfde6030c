"""Whether a model has learnt anything: better than guessing, and with probabilities that are worth more than none."""

import math

import torch
from torch import Tensor

# "Hardly better" is within so many standard errors of what guessing reaches.
STANDARD_ERRORS = 3


def weakness(scores: dict[str, float], labels_N: Tensor, classes: int) -> str | None:
    """What is wrong with a model of these scores (`top1`, `nll`) on images with these labels, if anything is."""
    top1, nll, chance = scores["top1"], scores["nll"], chance_of(labels_N)
    # Where nearly all images are of one class no error bar fits below 100 %: half of the guesser's mistakes must do.
    error = math.sqrt(chance * (1 - chance) / len(labels_N))
    if top1 < min(chance + STANDARD_ERRORS * error, (1 + chance) / 2):
        return (
            f"is right on {top1:.1%} of {len(labels_N)} images, hardly better than guessing: "
            f"whoever always names the commonest class is right on {chance:.1%}"
        )
    if nll > math.log(classes):
        return (
            f"is right on {top1:.1%}, but so sure of itself when it is wrong (an NLL of {nll:.3g}) that its "
            f"probabilities are worth less than the same one for each class (an NLL of {math.log(classes):.3g})"
        )
    return None


def chance_of(labels_N: Tensor) -> float:
    """The accuracy of who always names the commonest class."""
    return int(torch.bincount(labels_N).max()) / len(labels_N)
