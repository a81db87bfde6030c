"""How good a model is, how sure of itself, how like another, and what it costs to run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd.inference import batch_size
from kd.team import Team
from kd.views import Viewer

BINS = 15  # of the calibration error, as in Guo et al., 2017

# Shapes: N = images, B = batch, C = classes.


def predict(
    model: nn.Module,
    viewer: Viewer,
    autocast_dtype: torch.dtype | None = None,
    *,
    team: Team = Team(),  # immutable
) -> Tensor:
    """The model's logits of every image as it is, float32 [N, C] on the CPU; in a team each does its share."""
    logits = []
    image_N = team.share(torch.arange(len(viewer)))
    with (
        evaluating(model),
        torch.inference_mode(),
        torch.autocast(viewer.device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None),
    ):
        batches = torch.split(image_N, batch_size(viewer.device, viewer.shape))
        viewer.pixels.expect(iter(batches))
        for image_B in batches:
            logits.append(model(viewer.plain(image_B)).float())
    # Joined outside of inference mode: what comes out is an ordinary tensor, good for a loss too.
    mine_NC = torch.cat(logits)
    if team.size == 1:
        return mine_NC.cpu()
    all_NC = mine_NC.new_zeros(len(viewer), mine_NC.shape[1])
    all_NC[image_N.to(all_NC.device)] = mine_NC
    return team.sum(all_NC).cpu()


def score(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Accuracy (`top1`, and `top5` where there are more than five classes), `nll` in nats, calibration error `ece`."""
    logits_NC, labels_N = logits_NC.double(), labels_N.to(logits_NC.device)
    confidence_N, predicted_N = logits_NC.softmax(dim=1).max(dim=1)
    correct_N = predicted_N == labels_N
    scores = {"top1": correct_N.double().mean().item()}
    if logits_NC.shape[1] > 5:
        in_five_N = (logits_NC.topk(5, dim=1).indices == labels_N[:, None]).any(dim=1)
        scores["top5"] = in_five_N.double().mean().item()
    scores["nll"] = F.cross_entropy(logits_NC, labels_N).item()
    scores["ece"] = calibration_error(confidence_N, correct_N)
    return scores


def calibration_error(confidence_N: Tensor, correct_N: Tensor) -> float:
    """The gap between how sure and how right, averaged over equal bins of confidence (i/15, (i+1)/15]."""
    bin_N = (confidence_N * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    surplus_N = confidence_N - correct_N.to(confidence_N.dtype)
    # In a bin, n · |accuracy − confidence| is just the size of the summed surplus.
    gaps = torch.zeros(BINS, dtype=confidence_N.dtype, device=confidence_N.device).index_add(0, bin_N, surplus_N)
    return (gaps.abs().sum() / len(confidence_N)).item()


def agreement(a_NC: Tensor, b_NC: Tensor) -> float:
    """The share of images that both put into the same class."""
    return (a_NC.argmax(dim=1) == b_NC.to(a_NC.device).argmax(dim=1)).double().mean().item()


def parameters(model: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention for one image; nothing is computed."""
    # On the meta device tensors have shapes but no content. They are parameters because attention, when nothing
    # wants a gradient, runs as one fused kernel that the counter does not know.
    state: dict[str, Tensor] = {
        name: nn.Parameter(torch.empty_like(tensor, device="meta")) for name, tensor in model.named_parameters()
    }
    state |= {name: torch.empty_like(tensor, device="meta") for name, tensor in model.named_buffers()}
    with evaluating(model), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(model, state, torch.empty(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2


def latency(
    model: nn.Module, shape: tuple[int, int, int], device: torch.device | str, batch: int, *, seconds: float = 0.5
) -> float:
    """The median time of a forward, in seconds, measured for about `seconds`. The model is on the device already."""
    device = torch.device(device)
    inputs = torch.zeros(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    times: list[float] = []
    with evaluating(model), torch.inference_mode():
        for _ in range(3):  # the first forwards also choose kernels and allocate
            model(inputs)
        until = time.perf_counter() + seconds
        while len(times) < 5 or (time.perf_counter() < until and len(times) < 1000):
            _wait_for(device)
            began = time.perf_counter()
            model(inputs)
            _wait_for(device)
            times.append(time.perf_counter() - began)
    return median(times)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, and afterwards every part of it back in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
