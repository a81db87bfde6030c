"""torchvision, also where its compiled operators do not fit this torch; its models need none of them."""

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
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        # Half of it is imported by now; it must start anew.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name, schema in MISSING.items():
            torch.library.define(name, schema)
        import torchvision.models
    return torchvision.models  # type: ignore[no-any-return]
