"""What several models say together: the mean of their probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Shapes: N = images, C = classes.

# What half precision, in which labels are kept, can still hold: a probability of e^-65504 is 0 to everybody.
LOWEST = torch.finfo(torch.float16).min


def mean_logits(logits_MNC: Sequence[Tensor]) -> Tensor:
    """Logits whose softmax is the mean of the models' softmaxes; float32 [N, C], at most 0.

    At a temperature of 1, whatever the student's: so the committee is one model, with one probability for each class,
    and its labels serve every objective (the arithmetic mean of Hinton et al., 2015). They are the probabilities'
    logarithms: where half precision rounds them is where the probability is small.
    """
    total_NC = None
    for logits_NC in logits_MNC:
        total_NC = add(total_NC, logits_NC)
    assert total_NC is not None
    return divide(total_NC, len(logits_MNC))


def add(total_NC: Tensor | None, logits_NC: Tensor) -> Tensor:
    """The logarithm of the sum of probabilities so far (None: there are none) and those of another model; float32."""
    log_NC = logits_NC.float().log_softmax(dim=-1)
    return log_NC if total_NC is None else torch.logaddexp(total_NC, log_NC)


def divide(total_NC: Tensor, models: int) -> Tensor:
    """The logarithm of the mean of so many models' probabilities."""
    return (total_NC - math.log(models)).clamp(min=LOWEST, max=0)
