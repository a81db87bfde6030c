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
    for part, convolution_name, norm_name in list(_pairs(ready)):
        convolution, norm = part.get_submodule(convolution_name), part.get_submodule(norm_name)
        if names[id(convolution)] == names[id(norm)] == 1 and _can_be_folded(convolution, norm):
            part.set_submodule(convolution_name, fuse_conv_bn_eval(convolution, norm))  # type: ignore[type-var, arg-type]
            part.set_submodule(norm_name, nn.Identity().eval())
    return ready


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Parts of the model, and names of two modules in each: the second alone reads what the first one gives.

    The trace says who follows whom and is forgotten: the forward stays the model's own.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # of any kind: its code asks a stand-in what only a tensor knows; that of its parts may not
        for part in model.children():
            yield from _pairs(part)
        return
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        if calls[node.target] == 1 and len(node.users) == 1:
            (reader,) = node.users
            if calls[reader.target] == 1:
                yield model, node.target, reader.target


def _can_be_folded(convolution: nn.Module, norm: nn.Module) -> bool:
    if type(convolution) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d or norm.running_mean is None:
        return False
    # A hook may want to see, or to change, what goes in or comes out.
    return not any(module._forward_hooks or module._forward_pre_hooks for module in (convolution, norm))
