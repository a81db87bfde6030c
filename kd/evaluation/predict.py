"""What a model says of a split."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kd import liveness
from kd.parallel.team import Team
from kd.views.viewer import Viewer

# Shapes: N = images, B = batch, C = classes.

# A batch of a forward, in pixels of its images. On a CPU its activations should stay in the cache, and small enough
# that malloc does not fetch fresh pages from the kernel for each: resnet20 takes 64 images of 32×32 almost twice as
# fast as 256. The GPU's is a guess that fits into its memory; nobody has measured it.
CPU_PIXELS, GPU_PIXELS = 1 << 16, 1 << 20
# Smaller batches are rounded differently: other kernels of matrix products run. From here on an image's logits had
# the same bits in every batch, on a CPU with one or two threads. A split's last batch may still be smaller.
SMALLEST_BATCH = 16


def predict(
    model: nn.Module,
    viewer: Viewer,
    autocast_dtype: torch.dtype | None = None,
    *,
    team: Team = Team(),  # immutable
    images: Tensor | None = None,
) -> Tensor:
    """The model's logits of every image as it is, or of those whose numbers, int64 [N], are `images`: float32 [N, C] on
    the CPU; in a team each does its share."""
    logits = []
    image_N = torch.arange(len(viewer)) if images is None else images
    place_N = team.share(torch.arange(len(image_N)))
    with (
        evaluating(model),
        torch.inference_mode(),
        torch.autocast(viewer.device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None),
    ):
        batches = torch.split(image_N[place_N], batch_size(viewer.device, viewer.shape))
        viewer.pixels.expect(iter(batches))
        for image_B in batches:
            logits.append(model(viewer.plain(image_B)).float())
            liveness.advance()
    # Joined outside of inference mode: what comes out is an ordinary tensor, good for a loss too.
    mine_NC = torch.cat(logits)
    if team.size == 1:
        return mine_NC.cpu()
    all_NC = mine_NC.new_zeros(len(image_N), mine_NC.shape[1])
    all_NC[place_N.to(all_NC.device)] = mine_NC
    return team.sum(all_NC).cpu()


def batch_size(device: torch.device, shape: tuple[int, int, int]) -> int:
    """How many images of this shape (channels, height, width) a forward takes at once."""
    _, height, width = shape
    pixels = CPU_PIXELS if device.type == "cpu" else GPU_PIXELS
    return max(SMALLEST_BATCH, pixels // (height * width))


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
