"""torchvision, also where its compiled operators do not fit this torch; its models and data sets need none of them."""

import sys
from types import ModuleType

import torch

# A wheel of torchvision built for CUDA beside a torch for CPUs has no operators, yet attaches to two of them.
MISSING = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def torchvision_models() -> ModuleType:
    """The module `torchvision.models`."""
    return _torchvision().models  # type: ignore[no-any-return]


def torchvision_datasets() -> ModuleType:
    """The module `torchvision.datasets`."""
    return _torchvision().datasets  # type: ignore[no-any-return]


def torchvision_transforms() -> ModuleType:
    """The module `torchvision.transforms`."""
    return _torchvision().transforms  # type: ignore[no-any-return]


def _torchvision() -> ModuleType:
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        # Half of it is imported by now; it must start anew.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name, schema in MISSING.items():
            torch.library.define(name, schema)
        import torchvision
    return torchvision  # type: ignore[no-any-return]
