"""Augmentation as explicit integers: which crop and flip a view of an image is, and how to show it on the device.

A view is a pure function of (seed, image, view number), never hidden random state, so the very view that a
teacher labelled can be shown again.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kd.splitmix import below, splitmix64

# Shapes: N = images, B = batch, C = channels, H, W = height and width.


@dataclass(frozen=True)
class ViewPlan:
    """Which views there are: every crop after zero padding, mirrored or not."""

    crop_padding: int
    flip: bool
    seed: int = 0

    @property
    def count(self) -> int:
        """How many distinct views an image has."""
        return (2 * self.crop_padding + 1) ** 2 * (2 if self.flip else 1)


def parameters(plan: ViewPlan, image_B: Tensor, view_B: Tensor) -> Tensor:
    """The views as int64 [B, 3]: top and left of the crop in the padded image, and 1 where it is mirrored.

    View numbers 0..count-1 of an image are all its views, each once, in an order of the image's own; then they
    repeat. With flips, every other view is mirrored.
    """
    mixed_B = splitmix64(splitmix64(image_B) ^ plan.seed)
    strides = _strides(plan.count, image_B.device)
    start_B = below(plan.count, mixed_B)
    stride_B = strides[below(len(strides), splitmix64(mixed_B))]
    index_B = (start_B + stride_B * (view_B % plan.count)) % plan.count

    flips = 2 if plan.flip else 1
    side = 2 * plan.crop_padding + 1
    crop_B = index_B // flips
    return torch.stack([crop_B // side, crop_B % side, index_B % flips], dim=1)


@lru_cache(maxsize=64)  # so that a CUDA device gets them once, not at every batch
def _strides(count: int, device: torch.device) -> Tensor:
    """The steps that visit all of 0..count-1: those coprime to count."""
    return torch.tensor([step for step in range(count) if math.gcd(step, count) == 1], device=device)


class Viewer:
    """A split's images on the device, shown in any of their views."""

    def __init__(
        self,
        images: Tensor,
        plan: ViewPlan,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device | str,
    ):
        """`images`: uint8 [N, C, H, W]."""
        self.plan = plan
        self.device = torch.device(device)
        self.shape: tuple[int, int, int] = (images.shape[1], images.shape[2], images.shape[3])
        # Channels last, so that what is gathered from here already lies as convolutions like it.
        padded_NCHW = F.pad(images.to(self.device), [plan.crop_padding] * 4)
        self._padded_NHWC = padded_NCHW.permute(0, 2, 3, 1).contiguous()
        self._mean_C = torch.tensor(mean, device=self.device)
        self._std_C = torch.tensor(std, device=self.device)
        self._row_H = torch.arange(self.shape[1], device=self.device)
        self._column_W = torch.arange(self.shape[2], device=self.device)

    def __len__(self) -> int:
        return len(self._padded_NHWC)

    def show(self, image_B: Tensor, view_B: Tensor) -> Tensor:
        """The views `view_B` of the images `image_B`: float32 [B, C, H, W], normalised, channels last."""
        image_B = image_B.to(self.device)
        return self._cut(image_B, parameters(self.plan, image_B, view_B.to(self.device)))

    def plain(self, image_B: Tensor) -> Tensor:
        """The images themselves, which is what evaluation sees."""
        padding, (_, height, width) = self.plan.crop_padding, self.shape
        middle_NHWC = self._padded_NHWC[:, padding : padding + height, padding : padding + width]
        return self._normalised(middle_NHWC[image_B.to(self.device)])

    def _cut(self, image_B: Tensor, parameters_B3: Tensor) -> Tensor:
        top_B, left_B, flip_B = parameters_B3[:, :, None].unbind(dim=1)
        row_BH = top_B + self._row_H
        # A mirrored view reads its columns from the right: W-1-w instead of w.
        last = self.shape[2] - 1
        column_BW = left_B + self._column_W + flip_B * (last - 2 * self._column_W)
        pixels_BHWC = self._padded_NHWC[image_B[:, None, None], row_BH[:, :, None], column_BW[:, None, :]]
        return self._normalised(pixels_BHWC)

    def _normalised(self, pixels_BHWC: Tensor) -> Tensor:
        return pixels_BHWC.float().div_(255).sub_(self._mean_C).div_(self._std_C).permute(0, 3, 1, 2)
