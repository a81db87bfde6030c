"""Weights files: a model's tensors, with what one must know to use them."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from kd.disk import sha256_of, write
from kd.errors import BadWeights, ModelChanged, first_line
from kd.events import SavedFile
from kd.models.build import Seen, build, build_bare
from kd.models.own.names import identity
from kd.models.preprocess.network import NETWORK, SIGHT, Preprocessed, sight_in
from kd.models.preprocess.said import Sight
from kd.models.safetensors.facts import KEY, Facts, facts_in

State = dict[str, Tensor]


def save_weights(state: State, facts: Facts, out: Path, path: Path) -> SavedFile:
    """Write weights as safetensors to `out / path`."""
    # One entry, because safetensors writes several in any order: the same weights shall be the same file.
    metadata = {KEY: json.dumps(facts.model_dump())}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return write(out, path, lambda file: file.write(safetensors.torch.save(tensors, metadata)))


def load_model(path: Path) -> tuple[nn.Module, Facts]:
    """The model in a weights file, in eval mode, and its facts. Inputs are (pixels / 255 - mean) / std."""
    with _open(path) as file:
        facts = _facts(file)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        model = build_with(state, facts.arch, len(facts.classes), facts.shape)
    return model.eval(), facts


def build_with(state: State, arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A model with these weights, for images of `shape`. Raises `ModelChanged`."""
    model = frame_of(state, arch, classes, shape)
    load_state(model, state)
    return model


def frame_of(state: State, arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A model for these weights, as born: one that has learnt from other images is shown those of `shape` as it wants
    to see them."""
    if (sight := sight_in(state)) is None:
        return build(arch, classes, shape)
    seen = (sight.channels, *sight.size)
    if sight.bare:
        return Preprocessed(build_bare(arch, classes, seen), sight)
    within = {name.removeprefix(NETWORK): tensor for name, tensor in state.items() if name.startswith(NETWORK)}
    return Preprocessed(frame_of(within, arch, classes, seen), sight)


def check_content(path: Path, sha256: str | None) -> None:
    """Raise `BadWeights` if the file is another than the one that was written; None: nobody knows."""
    try:
        is_other = sha256 is not None and sha256_of(path) != sha256
    except OSError as error:
        raise BadWeights(path, first_line(error)) from error
    if is_other:
        raise BadWeights(path, "its content has changed since it was written (its sha256 is another)")


def read_seen(path: Path) -> Seen | None:
    """What the network in a weights file is shown of images; None: what its file's facts say."""
    sights = read_sights(path)
    return Seen((sights[-1].channels, *sights[-1].size), sights[-1].bare) if sights else None


def read_sights(path: Path) -> list[Sight]:
    """How the network in a weights file sees, from the outside inwards: none if as a data set's own networks do."""
    found, prefix = list[Sight](), ""
    with _open(path) as file:
        names = set(file.keys())
        while (name := f"{prefix}{SIGHT}") in names:
            sight = sight_in({SIGHT: file.get_tensor(name)})
            assert sight is not None, "it is there"
            found.append(sight)
            prefix += NETWORK
    return found


def read_facts(path: Path) -> Facts:
    """What a weights file says of itself."""
    with _open(path) as file:
        return _facts(file)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError, ModelChanged) as error:
        raise BadWeights(path, first_line(error)) from error


def _facts(file: Any) -> Facts:
    if (facts := facts_in(file.metadata() or {})) is None:
        raise ValueError("it does not say of which model; Stillhouse reads the files that it has written itself")
    return facts


def load_state(model: nn.Module, state: State) -> None:
    """Give a model weights that one of its kind has had, here or in an earlier run.

    A state is tensors and nothing else. A state dict of torch also says of which version its modules are; without that
    a module may take the weights for those of its first version, and refuse them (torchvision's MNASNet does).
    Raises `ModelChanged` where names or shapes are others.
    """
    versions = model.state_dict()._metadata  # type: ignore[attr-defined]
    versioned = OrderedDict(state)
    versioned._metadata = versions  # type: ignore[attr-defined]
    try:
        model.load_state_dict(versioned)
    except RuntimeError as error:
        _, *said = str(error).splitlines()  # the first line has the model's class, the next ones what is wrong
        raise ModelChanged(type(model).__name__, " ".join(" ".join(said).split())[:300] or first_line(error)) from error


def copy_of(model: nn.Module) -> State:
    """The model's weights as they are now, on the CPU, not shared with it."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def digest_of(arch: str, state: State) -> str:
    """What a model is, as a sha256: its architecture and every weight."""
    # By value, not by file: the teacher of another job, or trained a second time to the same weights, is the same one.
    content = hashlib.sha256(identity(arch).encode())
    for name, tensor in state.items():
        content.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
