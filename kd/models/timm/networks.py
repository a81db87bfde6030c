"""timm's architectures, made to accept small and grayscale images, for whoever has installed the extra `zoo`.

Most of them halve an image five times: of 32×32 pixels nothing but one would be left, and the last stages would see no
neighbours. So images are enlarged until the last map has four by four, as in the networks made for CIFAR.
"""

import math
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from torch import Tensor, nn

from kd.errors import ModelMissing, ModelUnfit, NotPublished
from kd.machine.torchvision_import import torchvision_models
from kd.models.fitted import Fitted
from kd.models.timm.catalog import PREFIX, TimmFacts, facts_of

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


def create(
    timm: ModuleType, name: str, classes: int, facts: TimmFacts, size: Size, file: str | None = None
) -> nn.Module:
    """The network, with fresh weights or with those of a file that timm publishes."""
    told: dict[str, object] = {"img_size": size} if facts.sizing == "told" else {}
    if file is not None:
        told |= {"pretrained_cfg_overlay": {"file": file}}
    return timm.create_model(name, pretrained=file is not None, num_classes=classes, **told)  # type: ignore[no-any-return]


def published(arch: str, classes: int, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Those that timm itself would take for images of this shape, from Hugging Face's cache. Raises `NotPublished`."""
    timm, name = timm_of(arch), arch.removeprefix(PREFIX)
    from huggingface_hub import try_to_load_from_cache

    facts = facts_of(name)
    told = timm.get_pretrained_cfg(name)
    if told is None or not told.hf_hub_id:
        raise NotPublished(f"timm publishes none of {arch}")
    file_name = told.hf_hub_filename or "model.safetensors"
    file = try_to_load_from_cache(told.hf_hub_id, file_name)
    if not isinstance(file, str):
        raise NotPublished(
            f"{file_name} of {told.hf_hub_id} is not in Hugging Face's cache where the job runs ($HF_HOME/hub): "
            f"`hf download {told.hf_hub_id} {file_name}` fetches it"
        )
    # From the file, and through timm's own hands: it fits what depends on the size of images, and renames.
    return create(timm, name, classes, facts, size_for(facts, shape), file=file).state_dict()


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
