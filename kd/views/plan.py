"""Augmentation as explicit integers: what a view of an image does to it.

A view is a pure function of (seed, image, view number), never hidden random state, so the very view that a
teacher labelled can be shown again.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kd.randomness import below, splitmix64
from kd.views import boxes, mixup, randaugment
from kd.views.boxes import Boxes, Size

# Shapes: B = batch; P = parameters of a view.

# As many views as anyone can ask for.
ENDLESS = 2**31
# What tells the seed of the strong views of pairs from that of the weak ones.
STRONG = 0x5354524F4E47
# And the key of a view's box from that of what else is drawn for it.
BOX = 0x424F58
# What plans say of themselves only where they have it: so the names of the label tables from before it stay.
LATER = ("paired", "resized_crop", "input_size")


@dataclass(frozen=True)
class ViewPlan:
    """Which views there are: every crop after zero padding, or boxes brought to one size; mirrored or not, then perhaps
    strong or mixed ones."""

    crop_padding: int
    flip: bool
    seed: int = 0
    strong: int = 0  # operations of RandAugment on every view
    magnitude: int = 9  # of each, 0..30
    mixup: float = 0.0  # α of the Beta distribution of shares; 0: no view is mixed so
    cutmix: float = 0.0
    paired: bool = False  # views are shown two at a time: 2k, a plain one, and 2k + 1, a strong one
    resized_crop: Boxes | None = None  # the boxes that are cut out, in the place of crops after padding
    input_size: Size | None = None  # height and width of what models see; None: those of the images

    def __post_init__(self) -> None:
        assert not (self.crop_padding and self.boxed), "what is resized is not padded"

    @property
    def boxed(self) -> bool:
        """Whether views are boxes of the image, which are resized."""
        return self.resized_crop is not None or self.input_size is not None

    @property
    def at_once(self) -> int:
        """How many views of an image are shown together."""
        return 2 if self.paired else 1

    @property
    def mixes(self) -> bool:
        """Whether a view shows a second image too."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def endless(self) -> bool:
        """Whether there are more views than can be counted."""
        return self.strong > 0 or self.mixes or self.resized_crop is not None

    @property
    def count(self) -> int:
        """How many distinct views an image has."""
        return ENDLESS if self.endless else self.crops

    @property
    def crops(self) -> int:
        """How many crops there are after padding, mirrored ones included."""
        return (2 * self.crop_padding + 1) ** 2 * (2 if self.flip else 1)

    def plain(self) -> "ViewPlan":
        """The same crops and flips, and nothing more."""
        return replace(self, strong=0, mixup=0.0, cutmix=0.0, paired=False)

    def unmixed(self) -> "ViewPlan":
        """The same crops, flips and strong operations of one image alone."""
        return replace(self, mixup=0.0, cutmix=0.0)

    def facts(self) -> dict[str, Any]:
        """What a table of labels says of it."""
        return {name: value for name, value in asdict(self).items() if name not in LATER or value}


def columns(plan: ViewPlan) -> tuple[str, ...]:
    """The names of a view's parameters."""
    own = [*(boxes.COLUMNS if plan.boxed else ("top", "left")), "flip"]
    for number in range(1, plan.strong + 1):
        own += [f"operation_{number}", f"magnitude_{number}"]
    return (*own, *mixup.COLUMNS, *(f"partner_{name}" for name in own)) if plan.mixes else tuple(own)


def parameters(plan: ViewPlan, image_B: Tensor, view_B: Tensor, images: int = 0, size: Size = (0, 0)) -> Tensor:
    """The views as int64 [B, P], named by `columns`: whole numbers that say all about them, and fit into int32.

    Top and left of the crop in the padded image, or of the box in the image, and its height and width; and 1 where it
    is mirrored. Then for each strong operation its number and its signed magnitude. Then how the view is mixed (see
    `mixup.draw`), and the partner's own crop and operations: those of its view of the same number. Only a plan that
    mixes asks how many images there are to choose a partner from, and only one of crops alone does not ask for their
    height and width.

    View numbers 0..crops-1 of an image are all its crops, each once, in an order of the image's own; then they
    repeat. Boxes are drawn for each view anew. With flips, every other view is mirrored. In pairs number 2k is number
    k of the plain views, and 2k + 1 is number k of strong ones, whose crops come in another order.
    """
    own_BP = _unmixed(plan, image_B, view_B, size)
    if not plan.mixes:
        return own_BP
    key_B, shown = _key(plan, image_B, view_B), plan.input_size or size
    drawn_BP = mixup.draw(image_B, key_B, mixup=plan.mixup, cutmix=plan.cutmix, images=images, size=shown)
    return torch.cat([own_BP, drawn_BP, _unmixed(plan, drawn_BP[:, -1], view_B, size)], dim=1)


def _unmixed(plan: ViewPlan, image_B: Tensor, view_B: Tensor, size: Size) -> Tensor:
    if plan.paired:
        return _paired(plan, image_B, view_B, size)
    own_BP = _box(plan, image_B, view_B, size) if plan.boxed else _crop(plan, image_B, view_B)
    if not plan.strong:
        return own_BP
    key_B = _key(plan, image_B, view_B)
    return torch.cat([own_BP, *(randaugment.draw(key_B + k, plan.magnitude) for k in range(plan.strong))], dim=1)


def _crop(plan: ViewPlan, image_B: Tensor, view_B: Tensor) -> Tensor:
    """Top, left and flip."""
    mixed_B = _of_image(plan, image_B)
    strides = _strides(plan.crops, image_B.device)
    start_B = below(plan.crops, mixed_B)
    stride_B = strides[below(len(strides), splitmix64(mixed_B))]
    index_B = (start_B + stride_B * (view_B % plan.crops)) % plan.crops
    return _crops(plan.crop_padding, plan.flip, image_B.device)[index_B]


def _box(plan: ViewPlan, image_B: Tensor, view_B: Tensor, size: Size) -> Tensor:
    """A box, as `boxes.COLUMNS`, and flip."""
    if plan.resized_crop is None:
        box_B4 = boxes.the_same(boxes.middle(size, plan.input_size or size), image_B)
    else:
        box_B4 = boxes.draw(plan.resized_crop, splitmix64(_key(plan, image_B, view_B) ^ BOX), size)
    flip_B = (below(2, _of_image(plan, image_B)) + view_B) % 2 * plan.flip
    return torch.cat([box_B4, flip_B[:, None]], dim=1)


def _paired(plan: ViewPlan, image_B: Tensor, view_B: Tensor, size: Size) -> Tensor:
    """Weak views are those of the plan without strong operations; strong ones have a seed of their own, or each pair
    would show the same crop twice."""
    number_B, plain = view_B // 2, len(columns(plan.plain()))
    strong_BP = _unmixed(replace(plan, paired=False, seed=plan.seed ^ STRONG), image_B, number_B, size)
    weak_BP = strong_BP.new_zeros(strong_BP.shape)
    weak_BP[:, :plain] = _unmixed(plan.plain(), image_B, number_B, size)
    weak_BP[:, plain::2] = randaugment.NUMBER["identity"]
    return torch.where((view_B % 2 == 1)[:, None], strong_BP, weak_BP)


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
