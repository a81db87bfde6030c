"""Networks of one's own: built by their factories, and looked at before a run gives hours to them."""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kd.errors import BadModel, KdError, ModelUnfit, first_line
from kd.models.own.names import Factory, load
from kd.randomness import seed_torch

REQUIRED, OFFERED = ("classes", "channels"), ("height", "width")
# More than one image: what sums over a batch by mistake shows with two.
LOOKED_AT = 2


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """`own/<name>`, as its factory gives it. Raises `BadModel` where that is no network, `ModelMissing` where there is
    no such factory."""
    factory, (channels, height, width) = load(arch), shape
    offered = {"classes": classes, "channels": channels, "height": height, "width": width}
    arguments = {name: offered[name] for name in arguments_of(arch, factory)}
    try:
        model = factory(**arguments)
    except KdError:
        raise
    except Exception as error:  # it is somebody's code, which may do anything
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise BadModel(arch, f"its factory, called with {given}, raises {_said(error)}") from error
    if not isinstance(model, nn.Module):
        raise BadModel(arch, f"its factory gives {_kind(model)}, and no torch.nn.Module")
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        _answer(arch, model, shape)  # lazy layers take their sizes from the first images that they see
    return model


def in_memory(model: nn.Module, device: torch.device, shape: tuple[int, int, int]) -> nn.Module:
    """The network on the device, in the order of memory in which it computes fastest, if its code bears that.

    Much code has a `view` that only images with their channels first in memory allow: it is shown nothing else.
    """
    fast = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            fast(torch.zeros(LOOKED_AT, *shape).contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        model.register_forward_pre_hook(_channels_first)
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _channels_first(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    # Not `contiguous`: of one channel it takes either order for the other.
    return (given[0].clone(memory_format=torch.contiguous_format),)


def arguments_of(arch: str, factory: Factory) -> tuple[str, ...]:
    """The keywords that a factory is called with. Raises `BadModel` for one that cannot be called so."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # one in C, which says nothing of itself
        return REQUIRED
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    if inspect.Parameter.VAR_KEYWORD in kinds.values():
        takes = {*REQUIRED, *OFFERED}
    else:
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        takes = {name for name, kind in kinds.items() if kind in by_name}
    called = "it is called with the keywords classes and channels, and with height and width if it names them"
    for name in REQUIRED:
        if name not in takes:
            raise BadModel(arch, f"its factory takes no argument {name}; {called}")
    for name, parameter in parameters.items():
        filled = parameter.default is not parameter.empty or name in (*REQUIRED, *OFFERED)
        if not filled and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise BadModel(arch, f"its factory wants {name}, which nobody gives: let it have a default; {called}")
    return tuple(name for name in (*REQUIRED, *OFFERED) if name in takes)


def check(arch: str, classes: int, shape: tuple[int, int, int], *, learns: bool) -> None:
    """Raise `BadModel` or `ModelUnfit` for what would spoil a run, or fail it after hours: of code that nobody here has
    seen everything is possible."""
    load(arch)  # a module that draws while it is imported does so now, and not between the seed and the weights
    model, again = (_born(arch, classes, shape) for _ in range(2))
    if model is again:
        raise BadModel(
            arch,
            "its factory gives the same module every time, and student and control would be one: let it build a "
            "new one at each call",
        )
    state, state_again = model.state_dict(), again.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise BadModel(arch, f"{name} in its state_dict is {_kind(tensor)}, and a file of weights holds tensors")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise BadModel(arch, f"its {name} is {kind}; weights are float32, and config.precision says what computes")
        # Compared as bytes, since a weight may be no number.
        if state_again.keys() != state.keys() or not _is_same(tensor, state_again[name]):
            raise BadModel(
                arch,
                f"its factory gives other first weights ({name}) from the same seed, so student and control "
                "would not start alike: draw them by torch's own functions",
            )
    if learns and not any(parameter.requires_grad for parameter in model.parameters()):
        raise BadModel(arch, "it has no parameter that can learn")
    try:
        copy.deepcopy(model)
    except Exception as error:  # of any kind: modules may hold anything
        raise BadModel(arch, f"it cannot be copied, {_said(error)}") from error
    _check_answer(arch, _answer(arch, model, shape), classes)
    if learns:  # some say more, or something else, while they learn
        _check_answer(arch, _answer(arch, model, shape, training=True), classes)


def _check_answer(arch: str, logits_BC: Any, classes: int) -> None:
    if not isinstance(logits_BC, Tensor):
        raise BadModel(arch, f"it answers with {_kind(logits_BC)}; it must give logits, a tensor of shape B×{classes}")
    if logits_BC.shape != (LOOKED_AT, classes) or not logits_BC.is_floating_point():
        given = "×".join(map(str, logits_BC.shape)) or "no dimension"
        raise BadModel(
            arch,
            f"it answers {LOOKED_AT} images with {str(logits_BC.dtype).removeprefix('torch.')} of shape {given}, "
            f"where logits are floats of shape {LOOKED_AT}×{classes}: a number for each of the {classes} classes",
        )


def _born(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    seed_torch(0)
    return build(arch, classes, shape)


def _answer(arch: str, model: nn.Module, shape: tuple[int, int, int], *, training: bool = False) -> Any:
    """What it says of images; in eval mode, as long as it is to stay what it is."""
    was_training = model.training
    try:
        with torch.no_grad():
            return model.train(training)(torch.zeros(LOOKED_AT, *shape))
    except KdError:
        raise
    except Exception as error:
        raise ModelUnfit(arch, shape, _said(error)) from error
    finally:
        model.train(was_training)


def _is_same(one: Tensor, other: object) -> bool:
    if not isinstance(other, Tensor) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one.contiguous().reshape(-1).view(torch.uint8), other.contiguous().reshape(-1).view(torch.uint8))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _kind(value: object) -> str:
    """`a dict`, `an int`, `None`."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
