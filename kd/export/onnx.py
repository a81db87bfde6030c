"""A student as one ONNX file, that takes pixels as cameras and decoders give them."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from kd.errors import ModelMissing
from kd.models.folding import for_inference
from kd.models.onnx.convert import write_onnx
from kd.models.safetensors.facts import Facts

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
REMEDY = "pip install 'stillhouse[onnx]' where the workers run"
IMAGES = 16
"""With which the exporter traces it."""


class Deployed(nn.Module):
    """Images in as they are decoded, uint8 [B, C, H, W] in 0..255; out come probabilities, float32 [B, classes]."""

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None])
        self.register_buffer("std_C11", torch.tensor(std)[:, None, None])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        # As a viewer does it, in this order, so that no pixel is rounded otherwise.
        pixels_BCHW = (images_BCHW.float() / 255 - self.mean_C11) / self.std_C11
        logits_BC: Tensor = self.model(pixels_BCHW)
        return logits_BC.softmax(dim=1)


def onnx_file(model: nn.Module, facts: Facts, *, preprocessing: bool, says: Mapping[str, str]) -> bytes:
    """The file of a model with these facts, for any number of images or, where torch cannot, for one at a time; it
    `says` of itself what users may ask it.

    With `preprocessing` it takes bytes and gives probabilities, else it takes what the model does and gives logits.
    Raises `NotConverted`, and `ModelMissing` where the packages for it are not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise ModelMissing("An ONNX file", f"{package} is not installed: {REMEDY}")
    ready = for_inference(model.cpu())
    module = Deployed(ready, facts.mean, facts.std).eval() if preprocessing else ready
    images = torch.randint(
        0, 256, (IMAGES, *facts.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    given = images if preprocessing else images.float() / 255
    gives = "probabilities" if preprocessing else "logits"

    import onnx

    written = onnx.load_from_string(write_onnx(module, given, takes="images", gives=gives))
    if batch_of(written) is not None:  # not for any number: then for one, which everybody has
        written = onnx.load_from_string(write_onnx(module, given[:1], takes="images", gives=gives, any_number=False))
    onnx.helper.set_model_props(written, {"classes": json.dumps(facts.classes, ensure_ascii=False), **says})
    return bytes(written.SerializeToString())


def batch_of(written: Any) -> int | None:
    """How many images the model takes at once; None: any number."""
    dim = written.graph.input[0].type.tensor_type.shape.dim[0]
    return int(dim.dim_value) if dim.HasField("dim_value") else None
