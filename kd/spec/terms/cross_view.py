"""What `cross_view` is made of: levels, what published objectives set of them, and the views that it needs."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, ValidationInfo, model_validator

from kd.spec.augmentation import Augmentation
from kd.spec.part import Part, refuse_idle
from kd.spec.terms.ramps import Weight

STRONG_OPERATIONS = 2
"""RandAugment's on the strong view of a pair, where nobody says how many."""


class Level(Part):
    """A part of `cross_view`. With `within` and `cross` at a quarter each, that is the mean of four KL, between the two
    views of the student's and those of the teacher's, and so of the size of `kd`."""

    weight: Weight = 0.25
    confidence: float = Field(
        default=0, ge=0, lt=1, description="an image counts where the teacher's highest probability is at least this"
    )

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        if not self.weight:
            refuse_idle(self, info, "confidence", acts_with="a weight above 0")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "crld": {
        "hard_weight": 2,
        "soft_weight": 1,
        "temperature": 4,
        "within": {"weight": 2, "confidence": 0.9},
        "cross": {"weight": 0.5, "confidence": 0.2},
    },
    # Theirs are sums over five temperatures, ours a mean: hence the fives.
    "mlkd": {
        "hard_weight": 0.2,
        "soft_weight": 0.9,
        "temperature": (2, 3, 4, 5, 6),
        "within": {"weight": 5},
        "cross": {"weight": 0},
        "batch": {"weight": 5},
        "classes": {"weight": 5},
    },
}
"""What published objectives set of `cross_view`. In their loss CE is the sum over both views, in ours the mean."""


def are_no_pairs(augmentation: Augmentation) -> Iterator[str]:
    """Why its views are not pairs of a weak and a strong view of one image."""
    if not augmentation.strong:
        yield (
            "augmentation.strong must be above 0 with objective.method cross_view, which compares a weak view of an "
            "image with a strong one"
        )
    for name in ("mixup", "cutmix"):
        if getattr(augmentation, name):
            yield (
                f"augmentation.{name} must be 0 with objective.method cross_view: both views of a pair are of one "
                "image, and a mixed view is of two"
            )
