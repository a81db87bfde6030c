"""How much better the student is than a control, and how sure that is: a mean over seeds and test images.

The student of a seed and its control are held against one another image by image. Two things are left to chance: which
seeds were drawn, of all that there are, and which test images. All seeds are asked about the same images, so more
seeds do not make up for few of those. The interval covers both; it is about this teacher and these labels.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from kd.report import student_t

CONFIDENCE = 0.95
# Beyond these nobody would believe that a gain stays what it was measured to be.
MOST_SEEDS, MOST_IMAGES = 1_000, 10**9

# Shapes: S = seeds, N = test images.


class Spread(NamedTuple):
    """The variance of what one seed gains on one image, by where it comes from; `seeds` is None where there was one."""

    seeds: float | None
    images: float
    both: float = 0.0
    """What is neither the seed's nor the image's own."""


class Gain(NamedTuple):
    """A difference of accuracies, in 0..1, with its standard error and its interval of 95 %."""

    mean: float
    std: float | None
    """Of the gains of the seeds; None where there was one."""
    standard_error: float
    low: float
    high: float
    seeds: int
    images: int
    spread: Spread

    @property
    def variances(self) -> tuple[float | None, float]:
        """Of the mean: what the seeds add to it, and what the images add."""
        from_seeds, from_images = _variances(self.spread, self.seeds, self.images)
        return None if self.spread.seeds is None else from_seeds, from_images

    @property
    def code(self) -> Literal["better", "not_better", "undecided"]:
        """`better` and `not_better` if the interval says so, else `undecided`."""
        if self.low > 0:
            return "better"
        return "not_better" if self.high < 0 else "undecided"


def gain(student_SN: Tensor, other_SN: Tensor) -> Gain:
    """The gain of students over what they are compared with, seed by seed; bool, whether each was right."""
    gain_SN = student_SN.double() - other_SN.double()
    seeds, images = gain_SN.shape
    mean, spread = gain_SN.mean().item(), spread_of(gain_SN)
    variance, freedom = variance_of_mean(spread, seeds, images)
    half = student_t.quantile(CONFIDENCE, freedom) * math.sqrt(variance)
    std = gain_SN.mean(dim=1).std().item() if seeds > 1 else None
    return Gain(mean, std, math.sqrt(variance), mean - half, mean + half, seeds, images, spread)


def spread_of(gain_SN: Tensor) -> Spread:
    """An analysis of variance of seeds crossed with images (as of readers crossed with cases: Hillis, 2014).

    Of one seed only images on which the two differ count, and one at least (McNemar, 1947).
    """
    seeds, images = gain_SN.shape
    if seeds == 1:
        return Spread(None, max(gain_SN.abs().sum().item(), 1) / images)
    of_seed_S1, of_image_N = gain_SN.mean(dim=1, keepdim=True), gain_SN.mean(dim=0)
    rest_SN = gain_SN - of_seed_S1 - of_image_N + gain_SN.mean()
    both = rest_SN.square().sum().item() / ((seeds - 1) * max(images - 1, 1))
    # An estimate below 0 stands for 0: seeds that happen to agree are no proof that others would.
    between_seeds = max(of_seed_S1.var().item() - both / images, 0)
    between_images = max(of_image_N.var().item() - both / seeds, 0) if images > 1 else 0
    return Spread(between_seeds, between_images, both)


def variance_of_mean(spread: Spread, seeds: int, images: int) -> tuple[float, float]:
    """The variance of the mean gain over so many seeds and images, and its degrees of freedom (Satterthwaite, 1946).

    Nearly all of it from seeds: those are Student's, one fewer than there are seeds. All of it from images: they are
    as good as infinite.
    """
    from_seeds, from_images = _variances(spread, seeds, images)
    variance = from_seeds + from_images
    if spread.seeds is None or variance == 0:
        return variance, student_t.NEARLY_NORMAL
    return variance, variance**2 / (from_seeds**2 / (seeds - 1) + from_images**2 / max(images - 1, 1))


def _variances(spread: Spread, seeds: int, images: int) -> tuple[float, float]:
    return (spread.seeds or 0) / seeds + spread.both / (seeds * images), spread.images / images


def seeds_to_decide(found: Gain) -> int | None:
    """With how many seeds in all the interval would leave 0 out, on these images and if the gain stays what it is; None
    if that cannot be known from one seed, or no number of them is enough."""
    if found.spread.seeds is None:
        return None
    return _first(lambda seeds: _decides(found, seeds, found.images), found.seeds, MOST_SEEDS)


def images_to_decide(found: Gain) -> int | None:
    """On how many test images in all it would, with these seeds."""
    return _first(lambda images: _decides(found, found.seeds, images), found.images, MOST_IMAGES)


def _decides(found: Gain, seeds: int, images: int) -> bool:
    variance, freedom = variance_of_mean(found.spread, seeds, images)
    return abs(found.mean) > student_t.quantile(CONFIDENCE, freedom) * math.sqrt(variance)


def _first(is_enough: Callable[[int], bool], too_few: int, most: int) -> int | None:
    """The smallest number that is enough, if one up to `most` is; by bisection, since more is never worse."""
    if not is_enough(most):
        return None
    low, high = too_few, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
