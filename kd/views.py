"""Augmentation as explicit integers: what a view of an image does to it, and how to show it on the device.

A view is a pure function of (seed, image, view number), never hidden random state, so the very view that a
teacher labelled can be shown again.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from kd import mixing, strong
from kd.mixing import Mix as Mix  # views are all that others ask for
from kd.pixels import Pixels
from kd.splitmix import below, splitmix64

# As many views as anyone can ask for.
ENDLESS = 2**31

# Shapes: M = padded images, B = batch, C = channels, H, W = height and width; P = parameters of a view.


@dataclass(frozen=True)
class ViewPlan:
    """Which views there are: every crop after zero padding, mirrored or not, then perhaps strong or mixed ones."""

    crop_padding: int
    flip: bool
    seed: int = 0
    strong: int = 0  # operations of RandAugment on every view
    magnitude: int = 9  # of each, 0..30
    mixup: float = 0.0  # α of the Beta distribution of shares; 0: no view is mixed so
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether a view shows a second image too."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def endless(self) -> bool:
        """Whether there are more views than can be counted."""
        return self.strong > 0 or self.mixes

    @property
    def count(self) -> int:
        """How many distinct views an image has."""
        return ENDLESS if self.endless else self.crops

    @property
    def crops(self) -> int:
        """How many crops there are, mirrored ones included."""
        return (2 * self.crop_padding + 1) ** 2 * (2 if self.flip else 1)

    def plain(self) -> "ViewPlan":
        """The same crops and flips, and nothing more."""
        return replace(self, strong=0, mixup=0.0, cutmix=0.0)

    def unmixed(self) -> "ViewPlan":
        """The same crops, flips and strong operations of one image alone."""
        return replace(self, mixup=0.0, cutmix=0.0)


def columns(plan: ViewPlan) -> tuple[str, ...]:
    """The names of a view's parameters."""
    own = ["top", "left", "flip"]
    for number in range(1, plan.strong + 1):
        own += [f"operation_{number}", f"magnitude_{number}"]
    return (*own, *mixing.COLUMNS, *(f"partner_{name}" for name in own)) if plan.mixes else tuple(own)


def parameters(
    plan: ViewPlan, image_B: Tensor, view_B: Tensor, images: int = 0, size: tuple[int, int] = (0, 0)
) -> Tensor:
    """The views as int64 [B, P], named by `columns`: whole numbers that say all about them, and fit into int32.

    Top and left of the crop in the padded image, and 1 where it is mirrored. Then for each strong operation its
    number and its signed magnitude. Then how the view is mixed (see `mixing.draw`), and the partner's own crop and
    operations: those of its view of the same number. Only a plan that mixes asks how many images there are to choose
    a partner from, and for their height and width.

    View numbers 0..crops-1 of an image are all its crops, each once, in an order of the image's own; then they
    repeat. With flips, every other view is mirrored.
    """
    own_BP = _unmixed(plan, image_B, view_B)
    if not plan.mixes:
        return own_BP
    key_B = _key(plan, image_B, view_B)
    drawn_BP = mixing.draw(image_B, key_B, mixup=plan.mixup, cutmix=plan.cutmix, images=images, size=size)
    return torch.cat([own_BP, drawn_BP, _unmixed(plan, drawn_BP[:, -1], view_B)], dim=1)


def _unmixed(plan: ViewPlan, image_B: Tensor, view_B: Tensor) -> Tensor:
    mixed_B = _of_image(plan, image_B)
    strides = _strides(plan.crops, image_B.device)
    start_B = below(plan.crops, mixed_B)
    stride_B = strides[below(len(strides), splitmix64(mixed_B))]
    index_B = (start_B + stride_B * (view_B % plan.crops)) % plan.crops
    crop_B3 = _crops(plan.crop_padding, plan.flip, image_B.device)[index_B]
    if not plan.strong:
        return crop_B3
    key_B = _key(plan, image_B, view_B)
    return torch.cat([crop_B3, *(strong.draw(key_B + k, plan.magnitude) for k in range(plan.strong))], dim=1)


def _of_image(plan: ViewPlan, image_B: Tensor) -> Tensor:
    return splitmix64(splitmix64(image_B) ^ plan.seed)


def _key(plan: ViewPlan, image_B: Tensor, view_B: Tensor) -> Tensor:
    """What the draws of a view start from: the numbers after it are for its strong operations, those before to mix."""
    return _of_image(plan, image_B) ^ splitmix64(view_B)


@lru_cache(maxsize=64)  # so that a CUDA device gets them once, not at every batch
def _strides(count: int, device: torch.device) -> Tensor:
    """The steps that visit all of 0..count-1: those coprime to count."""
    return torch.tensor([step for step in range(count) if math.gcd(step, count) == 1], device=device)


@lru_cache(maxsize=64)
def _crops(padding: int, flip: bool, device: torch.device) -> Tensor:
    """Top, left and flip of every crop: int64 [crops, 3]."""
    side, flips = range(2 * padding + 1), range(2 if flip else 1)
    return torch.tensor([(top, left, flip) for top in side for left in side for flip in flips], device=device)


class Viewer:
    """A split's images, shown in any of their views."""

    def __init__(self, pixels: Pixels, plan: ViewPlan, mean: tuple[float, ...], std: tuple[float, ...]):
        """The plan pads its crops at most as much as the pixels are padded."""
        assert plan.crop_padding <= pixels.padding
        self.plan = plan
        self.device = pixels.device
        self.shape = pixels.shape
        self.pixels = pixels
        self._mean, self._std = mean, std
        _, height, width = pixels.shape
        # As large as an image: operations on long rows are much faster than on three channels at a time.
        self._mean_HWC = torch.tensor(mean, device=self.device).repeat(height, width, 1)
        self._std_HWC = torch.tensor(std, device=self.device).repeat(height, width, 1)
        self._row_H = torch.arange(height, device=self.device)

    def with_plan(self, plan: ViewPlan) -> "Viewer":
        """The same images in other views."""
        return Viewer(self.pixels, plan, self._mean, self._std)

    def __len__(self) -> int:
        return len(self.pixels)

    def parameters(self, image_B: Tensor, view_B: Tensor) -> Tensor:
        """The views `view_B` of the images `image_B` as whole numbers, int64 [B, P] on the device; see `columns`."""
        image_B, view_B = image_B.to(self.device), view_B.to(self.device)
        return parameters(self.plan, image_B, view_B, len(self), self.shape[1:])

    def show(self, image_B: Tensor, view_B: Tensor) -> Tensor:
        """The views `view_B` of the images `image_B`: float32 [B, C, H, W], normalised, channels last."""
        return self.replay(image_B, self.parameters(image_B, view_B))

    def replay(self, image_B: Tensor, parameters_BP: Tensor) -> Tensor:
        """The views that these numbers describe, perhaps written down long ago; as `show` shows them."""
        parameters_BP = parameters_BP.to(self.device, torch.int64)
        if not self.plan.mixes:
            return self._normalised(self._changed(self._cut(image_B, parameters_BP), parameters_BP))
        own_BP, drawn_B7, partner_BP = self._parts(parameters_BP)
        # Cut apart, because pixels are read ahead for the images announced; changed together, in half as many calls.
        cuts = [self._cut(image_B, own_BP), self._cut(drawn_B7[:, -1], partner_BP)]
        own_BHWC, partner_BHWC = self._changed(torch.cat(cuts), torch.cat([own_BP, partner_BP])).chunk(2)
        return self._normalised(mixing.mixed(own_BHWC, partner_BHWC, drawn_B7))

    def mix(self, parameters_BP: Tensor) -> Mix | None:
        """What views with these parameters mean for the hard labels; nothing where the plan does not mix."""
        if not self.plan.mixes:
            return None
        _, drawn_B7, _ = self._parts(parameters_BP.to(self.device, torch.int64))
        return Mix(partner_B=drawn_B7[:, -1], share_B=drawn_B7[:, 1] / mixing.WHOLE)

    def plain(self, image_B: Tensor) -> Tensor:
        """The images themselves, which is what evaluation sees."""
        middle_B2 = torch.full((len(image_B), 2), self.plan.crop_padding, device=self.device)
        return self._normalised(self._cut(image_B, middle_B2))

    def _parts(self, parameters_BP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a plan that mixes: a view's own parameters, how it is mixed, and its partner's parameters."""
        own = len(columns(self.plan.unmixed()))
        drawn = own + len(mixing.COLUMNS)
        return parameters_BP[:, :own], parameters_BP[:, own:drawn], parameters_BP[:, drawn:]

    def _cut(self, image_B: Tensor, parameters_BP: Tensor) -> Tensor:
        """The crops whose top and left, within the plan's padding, come first: uint8 [B, H, W, C]."""
        channels, height, width = self.shape
        padded_MHWC, index_B = self.pixels.padded(image_B)
        count, padded_height, padded_width, _ = padded_MHWC.shape
        spare = self.pixels.padding - self.plan.crop_padding
        first_B = (index_B * padded_height + parameters_BP[:, 0] + spare) * padded_width + parameters_BP[:, 1] + spare
        # Each run of pixels as long as a row, wherever it begins, is a row of this view: so whole rows are copied.
        runs = count * padded_height * padded_width - width + 1
        run_RX = padded_MHWC.as_strided((runs, width * channels), (channels, 1))
        wanted_BH = first_B[:, None] + padded_width * self._row_H
        return run_RX.index_select(0, wanted_BH.flatten()).view(len(image_B), height, width, channels)

    def _changed(self, pixels_BHWC: Tensor, parameters_BP: Tensor) -> Tensor:
        """Crops, mirrored and under strong operations as the parameters say; uint8 [B, H, W, C]."""
        _, _, flip_B, *operations = parameters_BP.unbind(dim=1)
        if self.plan.flip:
            flips_B111 = flip_B[:, None, None, None] == 1
            pixels_BHWC = torch.where(flips_B111, pixels_BHWC.flip(2), pixels_BHWC)
        if operations:
            images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).contiguous()
            for operation_B, magnitude_B in zip(operations[::2], operations[1::2], strict=True):
                images_BCHW = strong.apply(images_BCHW, operation_B, magnitude_B)
            pixels_BHWC = images_BCHW.permute(0, 2, 3, 1).contiguous()
        return pixels_BHWC

    def _normalised(self, pixels_BHWC: Tensor) -> Tensor:
        return pixels_BHWC.float().div_(255).sub_(self._mean_HWC).div_(self._std_HWC).permute(0, 3, 1, 2)
