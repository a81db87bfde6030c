"""What a model costs to run."""

import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd.evaluation.predict import evaluating
from kd.models.onnx.network import OnnxNetwork

# How long the time of a forward is measured, and with how many of them: where they are fast, a median of a few hundred
# is as good as one of thousands.
LATENCY_SECONDS = 0.2
FEWEST_FORWARDS, MOST_FORWARDS = 5, 300


def parameters(model: nn.Module) -> int:
    """How many numbers training can change; of one that was trained elsewhere, could."""
    there = sum(parameter.numel() for parameter in model.parameters())
    return there + sum(module.said().graph.parameters for module in _of_files(model))


def weight_bytes(model: nn.Module) -> int:
    """What its weights take, batch statistics included; its file is a few hundred bytes larger."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention for one image; nothing is computed, unless the
    model's code asks what is in a tensor, or has tensors that are neither parameters nor buffers."""
    try:
        return macs_given(model, torch.empty(1, *shape, device="meta"))
    except RuntimeError:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if device.type == "meta":
            raise
    with evaluating(model), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape, device=device))
    return int(counter.get_total_flops()) // 2


def macs_given(model: nn.Module, inputs: Tensor | tuple[Tensor, ...]) -> int:
    """The same for a module that takes other things than images, its one argument; on the meta device."""
    # On the meta device tensors have shapes but no content. They are parameters because attention, when nothing
    # wants a gradient, runs as one fused kernel that the counter does not know.
    state: dict[str, Tensor] = {
        name: nn.Parameter(torch.empty_like(tensor, device="meta")) for name, tensor in model.named_parameters()
    }
    state |= {name: torch.empty_like(tensor, device="meta") for name, tensor in model.named_buffers()}
    with evaluating(model), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(model, state, (inputs,))
    return int(counter.get_total_flops()) // 2 + sum(module.said().graph.macs for module in _of_files(model))


def _of_files(model: nn.Module) -> list[OnnxNetwork]:
    """What the counters above do not see into, and a file says of itself."""
    return [module for module in model.modules() if isinstance(module, OnnxNetwork) and module.is_loaded]


def latency(
    model: nn.Module,
    shape: tuple[int, int, int],
    device: torch.device | str,
    batch: int,
    *,
    seconds: float | None = None,
) -> float:
    """The median time of a forward, in seconds, measured for about `seconds`, or LATENCY_SECONDS. The model is on the
    device already."""
    device = torch.device(device)
    inputs = torch.zeros(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    times: list[float] = []
    with evaluating(model), torch.inference_mode():
        for _ in range(3):  # the first forwards also choose kernels and allocate
            model(inputs)
        until = time.perf_counter() + (LATENCY_SECONDS if seconds is None else seconds)
        while len(times) < FEWEST_FORWARDS or (time.perf_counter() < until and len(times) < MOST_FORWARDS):
            _wait_for(device)
            began = time.perf_counter()
            model(inputs)
            _wait_for(device)
            times.append(time.perf_counter() - began)
    return median(times)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
