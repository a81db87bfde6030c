"""Weights to begin from: which of a network are its head, what of a file it takes over, and what of it stays so."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kd.errors import BadModel, NotPublished, StartUnfit, first_line
from kd.models.build import outline, published
from kd.models.fitted import Fitted
from kd.models.preprocess.network import SIGHT
from kd.models.preprocess.said import Preprocess
from kd.models.safetensors.names import NamesDiffer, match
from kd.models.weights import State, copy_of, load_state
from kd.nearest import unknown

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Beginning:
    """Where first weights come from, and what is known of the model that they were of."""

    whose: str  # in words
    classes: tuple[str, ...] | None  # None: as many as here, in this order
    sees: Preprocess | None  # None: what the data set's own networks see
    read: Callable[[], State]
    """Its tensors. Raises `StartUnfit`."""


def read_file(file: Path) -> State:
    """The tensors of a safetensors file. Raises `StartUnfit`."""
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise StartUnfit(f"its file cannot be read: {first_line(error)}") from error


def read_published(arch: str, classes: int, shape: tuple[int, int, int]) -> State:
    """The weights of the body that whoever made this architecture publishes, from the cache. Raises `StartUnfit`."""
    try:
        state = published(arch, classes, shape)
    except NotPublished as error:
        raise StartUnfit(error.why) from error
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise StartUnfit(f"the published file of {arch} cannot be read: {first_line(error)}") from error
    head = {name.removeprefix("network.") for name in head_of(arch, classes, shape)}
    return {name: tensor for name, tensor in state.items() if name not in head}


@dataclass(frozen=True)
class Taken:
    """What a network has taken over: so many of its tensors; `head`, whether its head is among them."""

    tensors: int
    of: int
    head: bool

    @property
    def told(self) -> str:
        head = "its head too" if self.head else "its head is new"
        return f"loaded {self.tensors} of {self.of} tensors, {head}"


def head_of(arch: str, classes: int, shape: tuple[int, int, int]) -> frozenset[str]:
    """The names of the weights whose shape is a matter of how many classes there are. Raises `StartUnfit`."""
    one = _shapes(outline(arch, classes, shape).state_dict())
    try:
        other = _shapes(outline(arch, classes + 1, shape).state_dict())
    except BadModel as error:
        why = f"its head, which is what another number of classes changes, cannot be told: {first_line(error)}"
        raise StartUnfit(why) from error
    return frozenset(name for name, size in one.items() if other.get(name) != size)


def take_over(
    network: nn.Module, beginning: Beginning, arch: str, head: Collection[str], classes: tuple[str, ...]
) -> Taken:
    """Give a network the weights of one of its kind, in its own precision; its head too where that knows these very
    classes. Raises `StartUnfit`."""
    given = {name: tensor for name, tensor in beginning.read().items() if not name.endswith(SIGHT)}
    try:
        found = match(_shapes(given), _shapes(network.state_dict()), arch, may_differ=head)
    except NamesDiffer as error:
        raise StartUnfit(f"the file {error.why}") from error
    if not head and beginning.classes not in (None, classes):
        raise StartUnfit(
            f"it knows other classes, and no weights of {arch} depend on how many there are: it has no head"
        )
    with_head = beginning.classes in (None, classes) and found.theirs.keys() >= set(head)
    state, taken = copy_of(network), 0
    for ours, theirs in found.theirs.items():
        if ours in head and not with_head:
            continue
        tensor, wanted = given[theirs], state[ours].dtype
        if tensor.is_floating_point() != wanted.is_floating_point:
            raise StartUnfit(f"its {theirs} holds {_kind(tensor.dtype)}, and {arch} has {_kind(wanted)} there")
        if not torch.isfinite(tensor).all():
            raise StartUnfit(f"its weights {theirs!r} hold numbers that are not finite")
        state[ours], taken = tensor.to(wanted), taken + 1
    load_state(network, state)
    return Taken(taken, len(state), with_head)


def freeze_parts(network: nn.Module, parts: Sequence[str], arch: str) -> None:
    """Let these parts of a network learn no more. Raises `StartUnfit` for one that it has not, or where nothing is left
    to learn."""
    for part, module in zip(parts, parts_of(network, parts, arch), strict=True):
        if not any(True for _ in module.parameters()):
            raise StartUnfit(f"its part {part} has no weights that could be frozen")
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise StartUnfit("with all of these parts frozen nothing is left to learn")


def parts_of(network: nn.Module, parts: Sequence[str], arch: str) -> list[nn.Module]:
    """The modules of these names in the network itself. Raises `StartUnfit`."""
    modules = {_within(network, name): module for name, module in network.named_modules() if name}
    for part in parts:
        if part not in modules:
            raise StartUnfit(unknown(f"part of {arch}", part, [name for name in modules if name]))
    return [modules[part] for part in parts]


def groups_of(
    network: nn.Module, head: Collection[str], body_rate: float, more: Iterable[nn.Parameter]
) -> list[dict[str, Any]]:
    """What of a network learns, and `more` beside it, in an optimizer's groups: `share` is that of the rate."""
    learning = {name: one for name, one in network.named_parameters() if one.requires_grad}
    if body_rate == 1:
        return [{"params": [*learning.values(), *more], "share": 1.0}]
    return [
        {"params": [one for name, one in learning.items() if name in head] + [*more], "share": 1.0},
        {"params": [one for name, one in learning.items() if name not in head], "share": body_rate},
    ]


def _within(network: nn.Module, name: str) -> str:
    """A part's name in the network itself, without what fits images to it."""
    return name.removeprefix("network").removeprefix(".") if isinstance(network, Fitted) else name


def _shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
