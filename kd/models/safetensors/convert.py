"""Make safetensors of weights that torch.save wrote. On their owner's machine, never on a server."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from kd.errors import NotConverted, first_line

INSIDE = ("state_dict", "model", "model_state_dict")
"""Where in a checkpoint people keep weights."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file: safetensors, or a state dict as torch.save writes it. Raises `NotConverted`."""
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            # Weights only: a pickle may be anybody's, and this reader makes nothing but tensors of it.
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever kind the readers have
        raise NotConverted(f"{path} cannot be read as weights: {first_line(error)}") from error
    for inside in INSIDE:
        if isinstance(state, dict) and isinstance(state.get(inside), dict):
            state = state[inside]
    if not isinstance(state, dict) or not all(isinstance(one, Tensor) for one in state.values()):
        raise NotConverted(f"{path} holds no state dict of tensors")
    return state


def convert(path: Path) -> bytes:
    """The file, of the same tensors. Raises `NotConverted`."""
    # Copies, since two of them may be one in memory, and in the file none may.
    return safetensors.torch.save({name: tensor.clone().contiguous() for name, tensor in read_state(path).items()})
