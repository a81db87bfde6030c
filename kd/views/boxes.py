"""Boxes of an image as views of it, in whole numbers: drawn as torchvision's `RandomResizedCrop` does (after Szegedy et
al., 2015), or the one in the middle, which is what evaluation sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.randomness import below, splitmix64
from kd.views.mixup import RANKS, WHOLE

COLUMNS = ("top", "left", "height", "width")
# How much larger than what is shown an image is made before its middle is cut out.
MARGIN = 1.15
# How often a box is drawn that sticks out of the image before the largest one is taken that does not.
ATTEMPTS = 10

Size = tuple[int, int]
"""Height and width, in pixels."""

# Shapes: B = batch, A = attempts.


@dataclass(frozen=True)
class Boxes:
    """Which boxes there are: from how little to how much of the image's area, and of which ratios of width to height,
    whose logarithms are as likely."""

    scale: tuple[float, float]
    ratio: tuple[float, float]


def draw(boxes: Boxes, key_B: Tensor, size: Size) -> Tensor:
    """A box of each image of this size, drawn from its key: int64 [B, 4], named by `COLUMNS`."""
    height, width = size
    key_BA = key_B[:, None] + 2 * torch.arange(ATTEMPTS, device=key_B.device)
    smallest, largest = (round(share * WHOLE) for share in boxes.scale)
    share_BA = smallest + below(largest - smallest + 1, splitmix64(key_BA))
    ratio_BA = _ratios(boxes.ratio, key_B.device)[below(RANKS, splitmix64(key_BA + 1))]
    # In double precision a product, a quotient and a root are the same bits on every device.
    area_BA, ratio_BA = share_BA.double() * (height * width) / WHOLE, ratio_BA.double() / WHOLE
    tall_BA, wide_BA = (area_BA / ratio_BA).sqrt().round().long(), (area_BA * ratio_BA).sqrt().round().long()
    fits_BA = (tall_BA > 0) & (tall_BA <= height) & (wide_BA > 0) & (wide_BA <= width)
    # Behind the attempts stands what is taken when all have failed.
    failed_B1 = (fits_BA.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)
    last_tall, last_wide = _largest(boxes.ratio, size)
    tall_B = F.pad(tall_BA, (0, 1), value=last_tall).gather(1, failed_B1).squeeze(1)
    wide_B = F.pad(wide_BA, (0, 1), value=last_wide).gather(1, failed_B1).squeeze(1)
    room_B2 = torch.stack([height - tall_B, width - wide_B], dim=1)
    key_B2 = key_B[:, None] + 2 * ATTEMPTS + torch.arange(2, device=key_B.device)
    corner_B2 = torch.where(failed_B1 < ATTEMPTS, below(room_B2 + 1, splitmix64(key_B2)), room_B2 // 2)
    return torch.cat([corner_B2, tall_B[:, None], wide_B[:, None]], dim=1)


def middle(size: Size, shown: Size) -> tuple[int, int, int, int]:
    """The box in the middle, as `COLUMNS`, of an image of this size that is shown at another one.

    As evaluation usually has it: the image is brought down to `MARGIN` of what is shown, and the middle is cut out of
    that. Of one that is not so large the middle is cut out as it is, and one that is smaller is shown whole.
    """
    # How many pixels of the image become one.
    whole = min(side / wanted for side, wanted in zip(size, shown, strict=True))
    scale = min(whole, max(1.0, whole / MARGIN))
    tall, wide = (round(wanted * scale) for wanted in shown)
    return (size[0] - tall) // 2, (size[1] - wide) // 2, tall, wide


def the_same(numbers: Sequence[int], image_B: Tensor) -> Tensor:
    """One box for every image: int64 [B, 4]."""
    return torch.stack([torch.full_like(image_B, number) for number in numbers], dim=1)


def _largest(ratio: tuple[float, float], size: Size) -> Size:
    """The largest box of an image whose ratio is one of these."""
    height, width = size
    narrowest, widest = ratio
    if width < narrowest * height:
        return max(1, round(width / narrowest)), width
    if width > widest * height:
        return height, max(1, round(height * widest))
    return size


@lru_cache(maxsize=64)  # so that a CUDA device gets them once, not at every batch
def _ratios(ratio: tuple[float, float], device: torch.device) -> Tensor:
    """So many equally likely ratios of width to height, in 65536ths: int64 [RANKS]."""
    low, high = map(math.log, ratio)
    ranks = ((rank + 0.5) / RANKS for rank in range(RANKS))
    return torch.tensor([round(math.exp(low + (high - low) * rank) * WHOLE) for rank in ranks], device=device)
