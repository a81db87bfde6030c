"""torchvision's classifiers, made to accept small and grayscale images."""

import math
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from kd.disk import sha256_of
from kd.errors import ModelUnfit, NotPublished
from kd.machine.torchvision_import import torchvision_models
from kd.models.fitted import Fitted

# Smaller images are enlarged to this, because the networks halve them up to five times. Three want more.
SMALLEST = 32
SMALLEST_OF = {"alexnet": 64, "inception_v3": 75, "maxvit_t": 224}
VIT_PATCHES = 4  # a vision transformer sees at least 4×4 patches


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """`torchvision/<name>` with fresh weights, behind what makes images fit it."""
    name = arch.removeprefix("torchvision/")
    channels, height, width = shape
    if channels not in (1, 3):
        raise ModelUnfit(arch, shape, "it was made for 1 or 3 channels")
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        side = patch * max(VIT_PATCHES, math.ceil(max(height, width) / patch))
        size = (side, side)
    elif name == "maxvit_t":
        size = (SMALLEST_OF[name],) * 2  # its windows of 7×7 fit into 224×224 only
    else:
        factor = max(1.0, SMALLEST_OF.get(name, SMALLEST) / min(height, width))
        size = (math.ceil(height * factor), math.ceil(width * factor))
    return Fitted(build_bare(arch, classes, (3, *size)), size)


def build_bare(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network as torchvision has it, for RGB images of this size."""
    name, options = arch.removeprefix("torchvision/"), dict[str, object]()
    if name.startswith("vit_"):
        options["image_size"] = shape[1]
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    return getattr(torchvision_models(), name)(weights=None, num_classes=classes, **options)  # type: ignore[no-any-return]


def published(arch: str, classes: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Those that torchvision itself would take, from where it keeps what it has fetched. Raises `NotPublished`."""
    url = url_of(arch.removeprefix("torchvision/"))
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not file.is_file():
        where = "torch's cache where the job runs ($TORCH_HOME/hub/checkpoints)"
        raise NotPublished(f"{file.name} is not in {where}; {url} has it")
    if (told := re.search(r"-([a-f0-9]{8,})\.", file.name)) and not sha256_of(file).startswith(told[1]):
        raise NotPublished(f"{file.name} in torch's cache is damaged (its sha256 is another): fetch it anew from {url}")
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    # What is there to learn only, and not in the network as it is built here.
    return {name: tensor for name, tensor in state.items() if not name.startswith(("AuxLogits.", "aux1.", "aux2."))}


def url_of(name: str) -> str:
    return str(torchvision_models().get_model_weights(name).DEFAULT.url)
