"""The file of a model that was trained elsewhere: as it is, or made of something else, here where that is trusted."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.errors import Misused, extra
from kd.teachers.kinds import is_torchs

MODULE = re.compile(r".+\.py:[A-Za-z_][A-Za-z0-9_]*", re.DOTALL)
SHAPE = re.compile(r"([134])x([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


@contextmanager
def model_file(file: str, architecture: str | None, weights: Path | None, shape: str | None) -> Iterator[Path]:
    """A file of a kind that teachers come as, while the block lasts."""
    if MODULE.fullmatch(file):
        if architecture is not None:
            raise Misused("--architecture goes with weights; FILE.py:FUNCTION builds the model itself.")
        with _written(_of_module(file, weights, shape), "model.onnx") as path:
            yield path
        return
    if weights is not None or shape is not None:
        raise Misused("--weights and --shape go with a module, FILE.py:FUNCTION; a file has what it needs inside.")
    if not Path(file).is_file():
        raise Misused(f"There is no file {file}.")
    with open(file, "rb") as content:
        is_weights_of_torch = architecture is not None and is_torchs(content)
    if not is_weights_of_torch:
        yield Path(file)
        return
    with extra("kd", "teacher"):
        from kd.models.safetensors.convert import convert
    with _written(convert(Path(file)), "model.safetensors") as path:
        yield path


def stem(file: str) -> str:
    """What to call it if nobody says."""
    return Path(file.rpartition(".py:")[0] or file).stem


def _of_module(file: str, weights: Path | None, shape: str | None) -> bytes:
    """ONNX of the module that a function in Python builds."""
    if shape is None or (match := SHAPE.fullmatch(shape)) is None:
        raise Misused("--shape says what images the module takes, as in 3x224x224: channels, height, width.")
    with extra("onnx", "teacher"):
        import onnxscript  # noqa: F401  # torch's exporter stands on it
        import torch  # noqa: F401

        from kd.models.onnx import convert
    channels, height, width = (int(match[number]) for number in (1, 2, 3))
    return convert.convert(convert.load(file, weights), (channels, height, width))


@contextmanager
def _written(content: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path
