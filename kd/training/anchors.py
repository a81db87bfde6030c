"""Moments of a model's training, spread evenly over it, although nobody knows at its start how long it will be."""

from typing import Any

from torch import nn

from kd.models.weights import copy_of


class Trail:
    """Up to twice as many moments as are wanted, one every `stride` epochs; of too many every other one goes."""

    def __init__(self, wanted: int, *, stride: int = 1, moments: list[dict[str, Any]] | None = None):
        self.wanted, self.stride = wanted, stride
        self.moments = moments if moments is not None else []

    def pass_by(self, epoch: int, model: nn.Module, scores: dict[str, float]) -> None:
        """Remember the model as it is after `epoch` epochs, if that is a moment to remember."""
        if not self.wanted or epoch % self.stride:
            return
        self.moments.append({"epoch": epoch, "weights": copy_of(model), "top1": scores["top1"]})
        if len(self.moments) > 2 * self.wanted:
            self.stride *= 2
            self.moments = [moment for moment in self.moments if moment["epoch"] % self.stride == 0]

    def anchors(self, *, before: int) -> list[dict[str, Any]]:
        """The wanted number of moments before an epoch, evenly spaced; fewer if there are not so many."""
        earlier = [moment for moment in self.moments if moment["epoch"] < before]
        count = min(self.wanted, len(earlier))
        return [earlier[(2 * number + 1) * len(earlier) // (2 * count)] for number in range(count)]
