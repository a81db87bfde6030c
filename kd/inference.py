"""A model made ready for nothing but forwards: the teacher that labels, the student that is judged."""

import copy
from collections import Counter
from collections.abc import Iterator

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def for_inference(model: nn.Module) -> nn.Module:
    """A copy in eval mode, without gradients, its batch normalisations folded into the convolutions before them.

    Its logits are the model's but for rounding. What cannot be folded stays as it is.
    """
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    names = Counter(id(module) for _, module in ready.named_modules(remove_duplicate=False))
    for part, convolution_name, norm_name in list(_foldable(ready)):
        convolution, norm = part.get_submodule(convolution_name), part.get_submodule(norm_name)
        if names[id(convolution)] == names[id(norm)] == 1 and not _is_watched(convolution) and not _is_watched(norm):
            part.set_submodule(convolution_name, fuse_conv_bn_eval(convolution, norm))
            part.set_submodule(norm_name, nn.Identity())
    return ready


def _foldable(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """A part of the model, and in it the names of a convolution and of the normalisation that alone reads its output.

    The trace is only asked who follows whom: the forward stays the model's own, so it may depend on shapes.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # of whatever kind: the model's code met a stand-in where it wants a tensor
        for part in model.children():
            yield from _foldable(part)
        return
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for convolution in graph.nodes:
        if calls[convolution.target] != 1 or len(convolution.users) != 1:
            continue
        (norm,) = convolution.users
        if calls[norm.target] != 1:
            continue
        c, n = (model.get_submodule(node.target) for node in (convolution, norm))
        if type(c) is nn.Conv2d and type(n) is nn.BatchNorm2d and n.running_mean is not None:
            yield model, convolution.target, norm.target


def _is_watched(module: nn.Module) -> bool:
    """Whether hooks want to see, or to change, what goes in or out."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
