"""Moments of a model's training, spread evenly over it, although nobody knows at its start how long it will be."""

from collections.abc import Sequence

from torch import nn

from kd.models.weights import copy_of
from kd.training.resuming.position import Moment, Scores


class Trail:
    """Up to twice as many moments as are wanted, one every `stride` epochs; of too many every other one goes."""

    def __init__(self, wanted: int, *, stride: int = 1, moments: Sequence[Moment] = ()):
        self.wanted, self.stride, self.moments = wanted, stride, tuple(moments)

    def pass_by(self, epoch: int, model: nn.Module, scores: Scores) -> None:
        """Remember the model as it is after `epoch` epochs, if that is a moment to remember."""
        if not self.wanted or epoch % self.stride:
            return
        self.moments += (Moment(epoch, copy_of(model), scores),)
        if len(self.moments) > 2 * self.wanted:
            self.stride *= 2
            self.moments = tuple(moment for moment in self.moments if moment.epoch % self.stride == 0)

    def anchors(self, *, before: int) -> tuple[Moment, ...]:
        """The wanted number of moments before an epoch, evenly spaced; fewer if there are not so many."""
        earlier = [moment for moment in self.moments if moment.epoch < before]
        count = min(self.wanted, len(earlier))
        return tuple(earlier[(2 * number + 1) * len(earlier) // (2 * count)] for number in range(count))
