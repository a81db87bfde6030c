"""timm's architectures, made to accept small and grayscale images, for whoever has installed the extra `zoo`.

Most of them halve an image five times: of 32×32 pixels nothing but one would be left, and the last stages would see no
neighbours. So images are enlarged until the last map has four by four, as in the networks made for CIFAR.
"""

import math
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from torch import nn

from kd.errors import ModelMissing, ModelUnfit
from kd.models.fitted import Fitted
from kd.models.timm.catalog import PREFIX, TimmFacts, facts_of
from kd.torchvision_import import torchvision_models

LAST_MAP = 4
REMEDY = "pip install --upgrade 'stillhouse[zoo]'"
Size = tuple[int, int]


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """`timm/<name>` with fresh weights, behind what makes images fit it."""
    if shape[0] not in (1, 3):
        raise ModelUnfit(arch, shape, "it was made for 1 or 3 channels")
    size = size_for(facts_of(arch.removeprefix(PREFIX)), shape)
    return Fitted(build_bare(arch, classes, (3, *size)), size)


def build_bare(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network as timm has it, for RGB images of this size."""
    name = arch.removeprefix(PREFIX)
    timm = timm_of(arch)
    if not timm.is_model(name):
        raise ModelMissing(arch, f"timm {version('timm')} does not know it: {REMEDY}")
    return create(timm, name, classes, facts_of(name), shape[1:])


def timm_of(arch: str) -> ModuleType:
    """The module `timm`. Raises `ModelMissing` where it is not installed."""
    try:
        version("timm")
    except PackageNotFoundError as error:
        raise ModelMissing(arch, f"timm is not installed: {REMEDY}") from error
    torchvision_models()  # timm imports torchvision, which may need our help
    return import_module("timm")


def create(timm: ModuleType, name: str, classes: int, facts: TimmFacts, size: Size) -> nn.Module:
    told = {"img_size": size} if facts.sizing == "told" else {}
    return timm.create_model(name, pretrained=False, num_classes=classes, **told)  # type: ignore[no-any-return]


def size_for(facts: TimmFacts, shape: tuple[int, int, int]) -> Size:
    """To which size images of `shape` are brought: whole strides, and enough of them."""
    _, height, width = shape
    if facts.sizing == "fixed":
        return facts.side, facts.side
    least = LAST_MAP * facts.stride
    if facts.sizing == "told":  # these want squares, most of them
        height = width = max(height, width)
    factor = max(1.0, least / min(height, width))
    return _whole(height * factor, facts.stride), _whole(width * factor, facts.stride)


def _whole(side: float, stride: int) -> int:
    # Rounded before: a factor that is no binary fraction must not cost a stride.
    return math.ceil(round(side, 6) / stride) * stride
