"""What a model computes on the way to its logits: the feature its classifier reads, the maps its stages end with."""

from contextlib import ExitStack
from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd.errors import SpecUnfit
from kd.models.build import outline
from kd.models.catalog import family_of
from kd.models.own.names import identity
from kd.models.preprocess.network import within

# Shapes: B = batch, C = classes or channels, D = width of the pooled feature.


class Points(NamedTuple):
    """Where to look: at what the classifier reads, and at the modules that end stages, by their names."""

    pooled: bool = False
    stages: tuple[str, ...] = ()


class Features(NamedTuple):
    """What was seen there in a forward, in its own precision."""

    pooled_BD: Tensor | None = None
    stages: tuple[Tensor, ...] = ()
    """Maps [B, C, H, W], the first stage's first."""


class Observed(nn.Module):
    """A model that gives its features beside its logits. Its weights, and whatever it computes, stay the same.

    Hooks look on for the length of a forward: whoever copies the model, averages it or folds it finds none.
    """

    def __init__(self, model: nn.Module, points: Points):
        super().__init__()
        self.model, self.points = model, points
        self.classifier = name_classifier(model) if points.pooled else None

    def forward(self, x: Tensor) -> tuple[Tensor, Features]:
        seen: dict[str, Tensor] = {}

        def reads(_: nn.Module, given: tuple[Tensor]) -> None:
            seen["pooled"] = given[0]

        def gives(name: str, found: Tensor) -> None:
            seen[name] = found

        with ExitStack() as hooks:
            if self.classifier is not None:
                hooks.enter_context(self.model.get_submodule(self.classifier).register_forward_pre_hook(reads))
            for name in self.points.stages:
                module = within(self.model).get_submodule(name)
                hooks.enter_context(
                    module.register_forward_hook(lambda _module, _given, found, name=name: gives(name, found))
                )
            logits_BC = self.model(x)
        return logits_BC, Features(seen.get("pooled"), tuple(seen[name] for name in self.points.stages))


def name_classifier(model: nn.Module) -> str:
    """The name of the module that ends in logits: the last linear layer. Raises `LookupError` where there is none."""
    found: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not found:
        raise LookupError("its classifier is a convolution, so there is no one feature of an image that it reads")
    return found[-1]


def name_stages(arch: str) -> tuple[str, ...]:
    """The names of the modules that end the stages of an architecture that has some."""
    family = import_module(family_of(arch).module)
    return family.stages(arch)  # type: ignore[no-any-return]


class Measures(NamedTuple):
    """How large the features of an architecture are, and where they are seen."""

    points: Points
    classes: int
    pooled: int = 0
    stages: tuple[tuple[int, int, int], ...] = ()
    """Channels, height and width of each map."""


def measure(
    arch: str,
    classes: int,
    shape: tuple[int, int, int],
    *,
    bare: bool = False,
    pooled: bool = False,
    stages: bool = False,
) -> Measures:
    """Measure them for images of `shape` (channels, height, width), of a network that may take them `bare`; nothing is
    computed.

    Raises `SpecUnfit` for one without a pooled feature: of timm's, and of one's own, the catalog does not know which
    they are.
    """
    return _measure(arch, classes, shape, bare, pooled, stages, identity(arch))


@cache
def _measure(
    arch: str, classes: int, shape: tuple[int, int, int], bare: bool, pooled: bool, stages: bool, _identity: str
) -> Measures:
    points = Points(pooled, name_stages(arch) if stages else ())
    try:
        observed = Observed(outline(arch, classes, shape, bare=bare).eval(), points)
        device = next(observed.parameters()).device
        _, features = observed(torch.zeros(1, *shape, device=device))
        if pooled and (features.pooled_BD is None or features.pooled_BD.ndim != 2):
            raise LookupError("its last linear layer does not read one feature of an image, so it is no classifier")
    except LookupError as error:
        raise SpecUnfit("objective.method", f"cannot be this one with {arch}: {error}") from None
    return Measures(
        points,
        classes,
        0 if features.pooled_BD is None else features.pooled_BD.shape[1],
        tuple((map_BCHW.shape[1], map_BCHW.shape[2], map_BCHW.shape[3]) for map_BCHW in features.stages),
    )
