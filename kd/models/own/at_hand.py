"""Modules, and functions that build some, which a caller has at hand: registered for a run by names of their own."""

import copy
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from torch import nn

from kd.errors import BadModel, first_line
from kd.models.own.names import NAME, PREFIX, Registered
from kd.models.own.networks import arguments_of
from kd.models.timm.survey import norm_in


def register(role: str, given: Any) -> dict[str, Registered]:
    """The one architecture that a module or a function is, by a name that tells its role. Raises `BadModel`."""
    if isinstance(given, nn.Module):
        called, norm, factory = type(given).__name__, norm_in(given), _copies_of(role, given)
    elif callable(given):
        called, norm, factory = getattr(given, "__name__", type(given).__name__), None, given
    else:
        kinds = "a module, a function that builds one, or the name of an architecture"
        raise BadModel(f"The {role}", f"it is a {type(given).__name__}, and not {kinds}")
    arch = f"{PREFIX}{role}-{called}"
    if not NAME.fullmatch(arch):  # a lambda
        arch = f"{PREFIX}{role}"
    arguments_of(arch, factory)
    # Of a version that was never before: what it computes may be anything, and may have changed since the last call.
    return {arch: Registered(factory, uuid4().hex, norm)}


def _copies_of(role: str, module: nn.Module) -> Callable[..., nn.Module]:
    """A factory of modules with its weights."""
    try:
        first = copy.deepcopy(module).cpu()
    except Exception as error:  # of any kind: modules may hold anything
        raise BadModel(f"The {role}", f"it cannot be copied, {type(error).__name__}: {first_line(error)}") from error
    for parameter in first.parameters():
        parameter.grad = None
    return lambda classes, channels: copy.deepcopy(first)
