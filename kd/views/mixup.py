"""Two images in one: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019), drawn and done in whole numbers."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from kd.randomness import below, splitmix64

# Shares are counted in 65536ths: fine enough for 8-bit pixels, and the same on every device.
WHOLE = 65536
# How many equally likely shares stand for a Beta distribution.
RANKS = 8192

NEITHER, MIXUP, CUTMIX = range(3)
COLUMNS = ("kind", "share", "box_top", "box_left", "box_bottom", "box_right", "partner")

# Shapes: B = batch, C = channels, H, W = height and width; X = W·C, the pixels of a row with their channels.


class Mix(NamedTuple):
    """Whose label counts beside the image's own, int64 [B], and how much the own one counts, float32 [B]."""

    partner_B: Tensor
    share_B: Tensor


def draw(image_B: Tensor, key_B: Tensor, *, mixup: float, cutmix: float, images: int, size: tuple[int, int]) -> Tensor:
    """How each image is mixed with another one, drawn from its key: int64 [B, 7], named by `COLUMNS`.

    `mixup` and `cutmix` are the α of a Beta(α, α), or 0 for never; with both, either is as likely. The share is the
    image's own. The box, which shows the partner, is empty except for `CUTMIX`, where the share is what it leaves.
    """
    assert images > 0
    ticket_B = below(2 * RANKS, splitmix64(key_B - 1))
    if images == 1:  # nobody to mix with
        kind_B = torch.full_like(ticket_B, NEITHER)
    elif mixup and cutmix:
        kind_B = MIXUP + ticket_B % 2
    else:
        kind_B = torch.full_like(ticket_B, MIXUP if mixup else CUTMIX)
    share_B = _shares(mixup, cutmix, image_B.device)[kind_B, ticket_B // 2]
    partner_B = (image_B + 1 + below(max(images - 1, 1), splitmix64(key_B - 2))) % images

    # As published: a box with this share of the image's area, around any pixel; what sticks out is cut off.
    height, width = size
    cut_B = kind_B == CUTMIX
    side_B = _sides(image_B.device)[share_B] * cut_B
    tall_B, wide_B = side_B * height // WHOLE, side_B * width // WHOLE
    centre_B = below(height * width, splitmix64(key_B - 3))
    top_B, left_B = centre_B // width - tall_B // 2, centre_B % width - wide_B // 2
    bottom_B, right_B = (top_B + tall_B).clamp_(max=height), (left_B + wide_B).clamp_(max=width)
    top_B, left_B = top_B.clamp_(min=0), left_B.clamp_(min=0)
    outside_B = height * width - (bottom_B - top_B) * (right_B - left_B)
    left_over_B = (2 * WHOLE * outside_B + height * width) // (2 * height * width)  # to the nearest 65536th
    share_B = torch.where(cut_B, left_over_B, share_B)
    return torch.stack([kind_B, share_B, top_B, left_B, bottom_B, right_B, partner_B], dim=1)


def mix_images(own_BHWC: Tensor, partner_BHWC: Tensor, drawn_B7: Tensor) -> Tensor:
    """Each image with its partner mixed in as `draw` said; uint8 [B, H, W, C]."""
    _, height, width, channels = own_BHWC.shape
    kind_B11, share_B11, top_B11, left_B11, bottom_B11, right_B11, _ = drawn_B7.int()[:, :, None, None].unbind(dim=1)
    row_H1 = torch.arange(height, device=own_BHWC.device)[:, None]
    column_X = torch.arange(width * channels, device=own_BHWC.device) // channels
    rows_BH1, columns_B1X = (top_B11 <= row_H1) & (row_H1 < bottom_B11), (left_B11 <= column_X) & (column_X < right_B11)
    share_B11 = share_B11.where(kind_B11 == MIXUP, WHOLE)
    share_BHX = share_B11.masked_fill(rows_BH1 & columns_B1X, 0)  # the box is the partner's
    return blend(own_BHWC.flatten(2), partner_BHWC.flatten(2), share_BHX).view_as(own_BHWC)


def blend(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` 65536ths of one and the rest of the other, rounded, as uint8.

    A share beyond 0..65536 moves away from one of the two, as RandAugment's strong colours do; what leaves 0..255
    is held there.
    """
    other = other.int()
    # The same as (share·one + (65536 − share)·other + 32768) >> 16, with one multiplication less.
    blended = ((one.int() - other) * share.int()).add_(WHOLE // 2).bitwise_right_shift_(16).add_(other)
    return blended.clamp_(0, 255).to(torch.uint8)


def beta(alpha: float) -> list[int]:
    """Beta(α, α) as `RANKS` equally likely shares, in 65536ths and in order; a share and the rest are as likely.

    A share x has the density x^(α-1) · (1-x)^(α-1), up to a constant, which for α < 1 has no bound at 0. Over x^α it
    has one, so the lower half of the distribution can be summed up in even steps.
    """
    steps, half = 8 * RANKS, RANKS // 2
    power = min(alpha, 1)
    places = [((step + 0.5) / steps) ** (1 / power) / 2 for step in range(steps)]
    weights = [place ** (alpha - power) * (1 - place) ** (alpha - 1) for place in places]
    total, reached = math.fsum(weights), 0.0
    lower: list[int] = []
    for place, weight in zip(places, weights, strict=True):
        reached += weight
        # The middle of every rank: the (k + ½)th of the half's equal parts.
        while len(lower) < half and reached >= (len(lower) + 0.5) / half * total:
            lower.append(round(place * WHOLE))
    return lower + [WHOLE - share for share in reversed(lower)]


@lru_cache(maxsize=64)  # so that a CUDA device gets them once, not at every batch
def _shares(mixup: float, cutmix: float, device: torch.device) -> Tensor:
    """The shares of every kind by rank, int64 [3, RANKS]."""
    kinds = [beta(alpha) if alpha else [WHOLE] * RANKS for alpha in (0.0, mixup, cutmix)]
    return torch.tensor(kinds, device=device)


@lru_cache(maxsize=64)
def _sides(device: torch.device) -> Tensor:
    """By own share: how much of an image's height and width a box covers that leaves as much; in 65536ths."""
    return torch.tensor([math.isqrt((WHOLE - share) * WHOLE) for share in range(WHOLE + 1)], device=device)
