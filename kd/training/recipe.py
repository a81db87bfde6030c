"""A recipe at work: its optimizer, its learning rate."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.amp import GradScaler

from kd.spec import Optimizer, Schedule

Parameters = Sequence[nn.Parameter] | Sequence[dict[str, Any]]
"""Those that learn, or groups of them."""


class Recipe(Protocol):
    """How long and with what: a `kd.spec.Teacher`, or the config's own fields for student and control."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def gradient_accumulation(self) -> int: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def ema(self) -> float | None: ...


def make_optimizer(recipe: Optimizer, parameters: Parameters, scaler: GradScaler) -> torch.optim.Optimizer:
    """The optimizer of a recipe, whose steps go through `scaler`; fused, which is one kernel for all parameters, where
    it may be."""
    if recipe.name == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    if recipe.name == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        # A step that the scaler leaves out spoils the momentum of the fused one (torch 2.11 to 2.14).
        fused=not scaler.is_enabled(),
    )


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The rate at a moment of the training, in epochs from its start."""
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    if epoch < schedule.warmup_epochs:
        # A first step at a rate of exactly 0 would be wasted, hence the small offset.
        return peak * max(epoch / schedule.warmup_epochs, 1e-3)
    if schedule.name == "cosine":
        share = (epoch - schedule.warmup_epochs) / (recipe.epochs - schedule.warmup_epochs)
        return peak * (1 + math.cos(math.pi * share)) / 2
    if schedule.name == "step":
        return peak * schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    return peak
