"""Make an ONNX file of a module, and see that it says the same. Where the module's code is trusted: on its owner's
machine, never on a server."""

import importlib.util
import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kd.errors import NotConverted, first_line
from kd.machine.torchvision_import import torchvision_models
from kd.models.onnx.session import Session
from kd.models.safetensors.convert import read_state
from kd.models.safetensors.names import NamesDiffer, match

COMPARED = 64
"""Images on which module and file must agree."""
FIXED_BATCH = 16
"""Of a module that cannot be exported for any number of images."""
NEARLY = 1e-3
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def load(source: str, weights: Path | None) -> nn.Module:
    """The module that `FILE.py:FUNCTION` builds, with weights in it: safetensors, or a state dict as torch.save writes
    it. The file's code is run. Raises `NotConverted`."""
    with suppress(ImportError):  # what it may import: timm does, too
        torchvision_models()
    path, _, name = source.rpartition(":")
    build = _function(Path(path), name)
    try:
        module = build()
    except Exception as error:  # of whatever kind the user's code has
        raise NotConverted(f"{name}() of {path} fails: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise NotConverted(f"{name}() of {path} gives a {type(module).__name__}, and no torch.nn.Module")
    if weights is not None:
        _fill(module, weights)
    return module.eval()


def convert(module: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """The file, for float32 images of `shape` (channels, height, width), compared with the module. Raises
    `NotConverted`."""
    images = torch.rand(COMPARED, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            expected = torch.cat([module(part) for part in torch.split(images, FIXED_BATCH)])
    except Exception as error:
        raise NotConverted(
            f"it does not take images of {'×'.join(map(str, shape))}: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(expected, torch.Tensor) or expected.dim() != 2:
        raise NotConverted("what it says of images is no tensor [images, classes]")
    content = write_onnx(module, images[:FIXED_BATCH])
    session = Session(content)
    try:
        graph = session.open()
        at_once = graph.batch or COMPARED
        said = np.concatenate([session.answer(part.numpy()) for part in torch.split(images, at_once)])
    finally:
        session.close()
    furthest = float(np.abs(said - expected.numpy()).max())
    if not furthest <= NEARLY * max(1.0, float(expected.abs().max())):
        raise NotConverted(f"the file says something else than the model, by up to {furthest:.3g}")
    return content


def write_onnx(
    module: nn.Module, images: torch.Tensor, *, takes: str = "images", gives: str = "logits", any_number: bool = True
) -> bytes:
    """One file of the module, traced with these images: for any number of them, or if that is not wanted or does not
    go, for so many. Raises `NotConverted`."""
    failure = None
    ways: tuple[dict[str, Any], ...] = ({"dynamic_shapes": ({0: torch.export.Dim("batch")},)}, {})
    for way in ways if any_number else ways[1:]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            try:
                options = {"external_data": False, "input_names": [takes], "output_names": [gives], **way}
                _quietly(lambda: torch.onnx.export(module, (images,), path, **options))  # noqa: B023
                return path.read_bytes()
            except Exception as error:  # the exporter's own kinds wrap whatever happened below them
                failure = failure or error
    assert failure is not None
    raise NotConverted(f"torch's exporter fails: {_innermost(failure)}") from failure


def _innermost(error: BaseException) -> str:
    """What was wrong at first: what is around it says where in the exporter that was, in colours of a terminal."""
    while error.__cause__ is not None:
        error = error.__cause__
    return COLOURS.sub("", f"{type(error).__name__}: {first_line(error)}")


def _quietly(do: Callable[[], object]) -> None:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            do()
    finally:
        logging.disable(level)


def _function(path: Path, name: str) -> Callable[[], Any]:
    if not path.is_file():
        raise NotConverted(f"there is no file {path}; a module is named FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None, "it ends in .py"
    there = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # for what lies beside it
    try:
        spec.loader.exec_module(there)
    except Exception as error:
        raise NotConverted(f"{path} fails: {type(error).__name__}: {first_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    build = getattr(there, name, None)
    if not callable(build):
        raise NotConverted(f"{path} has no function {name!r}")
    return build  # type: ignore[no-any-return]


def _fill(module: nn.Module, weights: Path) -> None:
    """Put weights into the module, every one of them."""
    state = read_state(weights)
    wanted = module.state_dict()
    try:
        found = match(
            {name: one.shape for name, one in state.items()}, {name: one.shape for name, one in wanted.items()}
        )
    except NamesDiffer as error:
        raise NotConverted(f"{weights} {error.why}") from None
    module.load_state_dict(wanted | {ours: state[theirs] for ours, theirs in found.theirs.items()})
