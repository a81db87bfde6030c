"""An exponential moving average of a model's weights: what it would be if it remembered its last thousand steps."""

import copy

import torch
from torch import Tensor, nn

from kd.models.weights import State, load_state


class Average:
    """A model of its own, updated after every step of the one that learns; buffers are copied, not averaged."""

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self._averaged: list[Tensor] = list(self.model.parameters())
        self._learning: list[Tensor] = list(model.parameters())
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0; early on the memory is shorter."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._learning, 1 - decay)
        for mine, theirs in self._buffers:
            mine.copy_(theirs)

    def load(self, state: State) -> None:
        load_state(self.model, state)
