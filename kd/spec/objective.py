"""What the student is told to care about."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.part import Part, refuse_idle, without_default
from kd.spec.terms.cross_view import PRESETS, Level
from kd.spec.terms.ramps import AnyTemperature, AnyWeight, Ramp, Weight, WeightRamp, is_zero

ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(strict=False, min_length=1, max_length=100_000)
]

Method = Literal["kd", "dkd", "dist", "wttm", "cross_view", "ofa", "rkd", "sp", "srd", "fitnet", "at", "reviewkd"]


class Term(Part):
    """A distance D(student, teacher) between their logits, or their features, of the same view; of
    `cross_view`, of two views."""

    method: Method = Field(
        default="kd",
        description="see docs/objectives.md for each of them; fitnet, at and reviewkd are for mode guide only",
    )
    temperature: AnyTemperature = Field(
        default=4,
        description="a number, several whose mean counts, or a ramp; defaults to the recipe's for the method",
        json_schema_extra=without_default,
    )
    standardize: bool = Field(
        default=False, description="each image's logits, the student's and the teacher's, by their own mean and spread"
    )
    alpha: Weight = Field(default=1, description="dkd only: weight of the label's class against all others")
    beta: Weight = Field(
        default=8,
        description="dkd only: weight of the other classes among themselves; defaults to the recipe's",
        json_schema_extra=without_default,
    )
    inter: Weight = Field(default=1, description="dist only: weight of each image's relation over the classes")
    intra: Weight = Field(default=1, description="dist only: weight of each class's relation over the batch")
    exponent: float = Field(
        default=0.1, ge=0.01, le=1, description="wttm only: of the teacher's probabilities; 1 / exponent is like a T"
    )
    within: Level = Field(default=Level(), description="cross_view only: each view with the teacher's same view")
    cross: Level = Field(default=Level(), description="cross_view only: each view with the teacher's other view")
    batch: Level = Field(default=Level(weight=0), description="cross_view only: how alike the batch's images are")
    classes: Level = Field(default=Level(weight=0), description="cross_view only: how alike the classes are")
    epsilon: float = Field(
        default=1,
        ge=1,
        le=4,
        description="ofa only: above 1 the label's class counts more, the surer the teacher is of it",
    )
    distances: Weight = Field(default=25, description="rkd only: weight of the distances between two images")
    angles: Weight = Field(default=50, description="rkd only: weight of the angles between three images")
    stage: int = Field(default=2, ge=1, le=16, description="fitnet only: at the end of which stage, counted from 1")

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        for method, fields in OWN.items():
            if self.method != method:
                refuse_idle(self, info, *fields, acts_with=f"method {method!r}")
        if self.method in WITHOUT_LOGITS:
            refuse_idle(self, info, "standardize", acts_with="a method that compares logits")
        for method, (one, other) in TWO_PARTS.items():
            if self.method == method and getattr(self, one) == getattr(self, other) == 0:
                raise PydanticCustomError(
                    "weights",
                    "{one} and {other} are both 0: nothing is left of {method}",
                    {"one": one} | {"other": other, "method": method},
                )
        if self.method == "cross_view" and not any(getattr(self, level).weight for level in OWN["cross_view"]):
            raise PydanticCustomError("weights", "within, cross, batch and classes all have a weight of 0")
        return self


TWO_PARTS = {"dkd": ("alpha", "beta"), "dist": ("inter", "intra"), "rkd": ("distances", "angles")}
"""The weights of which one at least must not be 0."""

OWN = {
    **TWO_PARTS,
    "wttm": ("exponent",),
    "cross_view": ("within", "cross", "batch", "classes"),
    "ofa": ("epsilon",),
    "fitnet": ("stage",),
}
"""The fields that one method alone reads."""

IN_PAIRS = ("cross_view",)
"""Those that compare two views of an image."""

READS: dict[str, Literal["heads", "pooled", "stages"]] = {
    "ofa": "heads",
    "rkd": "pooled",
    "sp": "pooled",
    "srd": "pooled",
    "fitnet": "stages",
    "at": "stages",
    "reviewkd": "stages",
}
"""What a method compares that logits are not, or not alone: heads on the student's stages, the feature that the
classifier reads, the maps of the stages of both."""

WITHOUT_LOGITS = tuple(method for method, what in READS.items() if what != "heads")
WITHOUT_TEMPERATURE = {
    "wttm": "wttm has an exponent instead",
    "ofa": "ofa takes probabilities as they are",
    **{method: f"{method} compares features" for method in WITHOUT_LOGITS},
}
WITH_HARD_LABELS = ("dkd", "ofa")


class AnotherTerm(Term):
    """One more distance, beside the first."""

    weight: AnyWeight = 1

    @model_validator(mode="after")
    def _it_acts(self, info: ValidationInfo) -> Self:
        if is_zero(self.weight):
            raise PydanticCustomError("weights", "a term with a weight of 0 does nothing: leave it out")
        if why := WITHOUT_TEMPERATURE.get(self.method):
            refuse_idle(self, info, "temperature", acts_with=f"another method: {why}")
        return self


class Objective(Term):
    """loss = hard_weight · CE(student, label) + soft_weight · D(student, teacher) + the terms of `also`"""

    preset: Literal["crld", "mlkd"] | None = Field(
        default=None, description="cross_view only: a published objective, which sets all fields that are not set here"
    )
    hard_weight: AnyWeight = Field(
        default=0.1, description="defaults to the recipe's for the method", json_schema_extra=without_default
    )
    soft_weight: AnyWeight = Field(
        default=0.9, description="defaults to the recipe's for the method", json_schema_extra=without_default
    )
    also: Annotated[tuple[AnotherTerm, ...], Field(strict=False, max_length=8)] = Field(
        default=(), description="more distances, each with a weight of its own"
    )
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        default=None,
        description="what an image counts in the labels' part of the loss, by its class: a number for each class, or "
        "'balanced', inversely to how common it is; for the student, the control, and a teacher that is trained here",
    )

    @model_validator(mode="before")
    @classmethod
    def _what_the_preset_sets(cls, given: Any) -> Any:
        # In the fields themselves, so that whoever reads the spec sees what it means.
        if not isinstance(given, dict) or given.get("method") != "cross_view":
            return given
        return PRESETS.get(str(given.get("preset")), {}) | given

    @model_validator(mode="after")
    def _a_preset_acts(self, info: ValidationInfo) -> Self:
        if self.method != "cross_view":
            refuse_idle(self, info, "preset", acts_with="method 'cross_view'")
        return self

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if is_zero(self.hard_weight) and is_zero(self.soft_weight) and not self.also:
            raise PydanticCustomError("weights", "hard_weight and soft_weight are both 0: there is nothing to learn")
        return self

    @property
    def terms(self) -> Iterator[tuple[Term, float | WeightRamp]]:
        """The distances that count, each with its weight."""
        if not is_zero(self.soft_weight):
            yield self, self.soft_weight
        for term in self.also:
            yield term, term.weight

    @property
    def places(self) -> Iterator[tuple[str, Term]]:
        """The same, each with the field of a config that has it."""
        if not is_zero(self.soft_weight):
            yield "objective", self
        for number, term in enumerate(self.also):
            yield f"objective.also.{number}", term

    @property
    def reads(self) -> set[str]:
        """What they compare, beside logits."""
        return {READS[term.method] for term, _ in self.terms if term.method in READS}

    @property
    def paired(self) -> bool:
        """Whether it is about two views of each image, a weak and a strong one."""
        return any(term.method in IN_PAIRS for term, _ in self.terms)

    @property
    def ramps(self) -> Iterator[tuple[str, Ramp]]:
        """Whatever of it changes in the course of training, by its field."""
        fields = {"hard_weight": self.hard_weight, "soft_weight": self.soft_weight, "temperature": self.temperature}
        for number, term in enumerate(self.also):
            fields |= {f"also.{number}.weight": term.weight, f"also.{number}.temperature": term.temperature}
        return ((name, value) for name, value in fields.items() if isinstance(value, Ramp))


def asks_for_pairs(given: Any) -> bool:
    """Whether an objective that is not yet validated is about two views of each image."""
    if isinstance(given, Objective):
        return given.paired
    if not isinstance(given, dict):
        return False
    also = given.get("also")
    terms = [given, *(also if isinstance(also, list | tuple) else ())]
    return any(isinstance(term, dict) and term.get("method") in IN_PAIRS for term in terms)
