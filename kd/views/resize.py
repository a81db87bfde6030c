"""Boxes of images brought to one size, bilinear with antialiasing, as torchvision and Pillow do it to bytes.

A line of pixels that comes out is a mean of those that go in, weighed by a triangle around its place that is two lines
wide: of those that come out or of those that go in, whichever are wider. Nothing outside of the box counts. First rows
are made of rows and rounded, then columns of columns.

Weights are 65536ths that add up to one: every sum of weighed bytes, halves included, is then a number that a float32
holds exactly. So devices may add in any order, and all find the same bytes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.views.mixup import WHOLE

# Shapes: M = images, B = batch, C = channels, H, W = height and width, Y = W·C; X = numbers of a line, I and O = lines
# that go in and come out, T = those that one is made of, R = B·O.


def resize(images_MHWC: Tensor, index_B: Tensor, box_B4: Tensor, size: tuple[int, int]) -> Tensor:
    """A box (top, left, height, width) of each of the images named, brought to this size: uint8 [B, H, W, C].

    A box lies within its image.
    """
    _, height, width, channels = images_MHWC.shape
    top_B, left_B, tall_B, wide_B = box_B4.unbind(dim=1)
    image_B, channel_C = (torch.arange(count, device=index_B.device) for count in (len(index_B), channels))
    rows_BIY = images_MHWC.index_select(0, index_B).float().flatten(2)
    row_BOT, weight_BOT = taps(image_B * height + top_B, tall_B, size[0], most=height)
    rows_BOY = _add_up(rows_BIY, row_BOT, weight_BOT)
    # Columns are rows of what is turned over: one for each channel.
    columns_BYO = rows_BOY.transpose(1, 2).contiguous()
    column_BOT, weight_BOT = taps(image_B * width + left_B, wide_B, size[1], most=width)
    column_BYT = (column_BOT[:, :, None] * channels + channel_C[:, None]).flatten(1, 2)
    columns_BYH = _add_up(columns_BYO, column_BYT, weight_BOT.repeat_interleave(channels, dim=1))
    shown_BHY = torch.empty(len(index_B), size[0], size[1] * channels, dtype=torch.uint8, device=index_B.device)
    return shown_BHY.copy_(columns_BYH.transpose(1, 2)).view(-1, *size, channels)


def taps(begin_B: Tensor, count_B: Tensor, wanted: int, *, most: int) -> tuple[Tensor, Tensor]:
    """Of which lines, and of how much of each, those are made that are wanted of the `count_B` from `begin_B` on, which
    are `most` at most: int64 [B, O, T] both, the second in 65536ths."""
    count_B11 = count_B[:, None, None]
    # Places are counted in parts of a line, twice as many as are wanted: so all of it is whole numbers.
    reach_B11 = 2 * count_B11.clamp(min=wanted)
    middle_BO1 = (2 * torch.arange(wanted, device=count_B.device)[:, None] + 1) * count_B11
    first_BO1 = ((middle_BO1 - reach_B11 + wanted) // (2 * wanted)).clamp(min=0)
    line_BOT = first_BO1 + torch.arange(math.ceil(2 * max(most, wanted) / wanted), device=count_B.device)
    height_BOT = (reach_B11 - ((2 * line_BOT + 1) * wanted - middle_BO1).abs()).clamp(min=0)
    # Rounded from sum to sum, so that the weights add up.
    sum_BOT = height_BOT.masked_fill_(line_BOT >= count_B11, 0).cumsum(dim=2)
    total_BO1 = sum_BOT[..., -1:]
    sum_BOT = (2 * WHOLE * sum_BOT + total_BO1) // (2 * total_BO1)
    weight_BOT = sum_BOT.diff(dim=2, prepend=torch.zeros_like(total_BO1))
    return begin_B[:, None, None] + line_BOT.minimum(count_B11 - 1), weight_BOT


def _add_up(lines_BIX: Tensor, line_BOT: Tensor, weight_BOT: Tensor) -> Tensor:
    """Each line that comes out as the weighed sum of those it is made of, rounded: float32 [B, O, X], whole numbers.

    Lines are counted through all images.
    """
    # What adds up the vectors of words in a bag adds up lines, too, from where they lie.
    weight_RT = weight_BOT.flatten(0, 1).float() / WHOLE
    sums_RX = F.embedding_bag(line_BOT.flatten(0, 1), lines_BIX.flatten(0, 1), mode="sum", per_sample_weights=weight_RT)
    return sums_RX.round_().view(*line_BOT.shape[:2], -1)
