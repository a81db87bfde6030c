"""What the student is told to care about."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.spec.part import Part, refuse_idle

ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(strict=False, min_length=1, max_length=100_000)
]
Weight = Annotated[float, Field(ge=0, le=1_000)]
Temperature = Annotated[float, Field(ge=0.01, le=1_000)]
Temperatures = Annotated[tuple[Temperature, ...], Field(strict=False, min_length=2, max_length=16)]

Method = Literal["kd", "dkd", "dist", "wttm", "ofa", "rkd", "sp", "srd", "fitnet", "at"]


class Ramp(Part):
    """A number that goes from `start` to `end` in a straight line, and stays there."""

    start: float
    end: float
    epochs: float | None = Field(
        default=None, gt=0, le=10_000, description="within so many epochs of the student; none: within all of them"
    )

    def at(self, epoch: float, epochs: int) -> float:
        """Its value at a place in a training of so many `epochs`; `epoch` counts those behind it, and parts of one."""
        way = min(epoch / (self.epochs or epochs), 1.0)
        return self.start + (self.end - self.start) * way


class WeightRamp(Ramp):
    start: Weight
    end: Weight


class TemperatureRamp(Ramp):
    start: Temperature
    end: Temperature


def _shape(given: object) -> str:
    """Which of the alternatives is meant, so that what is wrong is said of that one alone."""
    return "several" if isinstance(given, list | tuple) else _one_or_ramp(given)


def _one_or_ramp(given: object) -> str:
    return "ramp" if isinstance(given, dict | Ramp) else "number"


AnyWeight = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[WeightRamp, Tag("ramp")], Discriminator(_one_or_ramp)
]
AnyTemperature = Annotated[
    Annotated[Temperature, Tag("number")]
    | Annotated[Temperatures, Tag("several")]
    | Annotated[TemperatureRamp, Tag("ramp")],
    Discriminator(_shape),
]


class Term(Part):
    """A distance D(student, teacher) between their logits, or their features, of the same view."""

    method: Method = Field(
        default="kd", description="see docs/objectives.md for each of them; fitnet and at are for mode guide only"
    )
    temperature: AnyTemperature = Field(default=4, description="a number, several whose mean counts, or a ramp")
    standardize: bool = Field(
        default=False, description="each image's logits, the student's and the teacher's, by their own mean and spread"
    )
    alpha: Weight = Field(default=1, description="dkd only: weight of the label's class against all others")
    beta: Weight = Field(default=8, description="dkd only: weight of the other classes among themselves")
    inter: Weight = Field(default=1, description="dist only: weight of each image's relation over the classes")
    intra: Weight = Field(default=1, description="dist only: weight of each class's relation over the batch")
    exponent: float = Field(
        default=0.1, ge=0.01, le=1, description="wttm only: of the teacher's probabilities; 1 / exponent is like a T"
    )
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
        return self


TWO_PARTS = {"dkd": ("alpha", "beta"), "dist": ("inter", "intra"), "rkd": ("distances", "angles")}
"""The weights of which one at least must not be 0."""

OWN = {**TWO_PARTS, "wttm": ("exponent",), "ofa": ("epsilon",), "fitnet": ("stage",)}
"""The fields that one method alone reads."""

READS: dict[str, Literal["heads", "pooled", "stages"]] = {
    "ofa": "heads",
    "rkd": "pooled",
    "sp": "pooled",
    "srd": "pooled",
    "fitnet": "stages",
    "at": "stages",
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

    hard_weight: AnyWeight = 0.1
    soft_weight: AnyWeight = 0.9
    also: Annotated[tuple[AnotherTerm, ...], Field(strict=False, max_length=8)] = Field(
        default=(), description="more distances, each with a weight of its own"
    )
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        default=None,
        description="what an image counts in the labels' part of the loss, by its class: a number for each class, or "
        "'balanced', inversely to how common it is; for the student, the control, and a teacher that is trained here",
    )

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
    def ramps(self) -> Iterator[tuple[str, Ramp]]:
        """Whatever of it changes in the course of training, by its field."""
        fields = {"hard_weight": self.hard_weight, "soft_weight": self.soft_weight, "temperature": self.temperature}
        for number, term in enumerate(self.also):
            fields |= {f"also.{number}.weight": term.weight, f"also.{number}.temperature": term.temperature}
        return ((name, value) for name, value in fields.items() if isinstance(value, Ramp))


def is_zero(weight: float | WeightRamp) -> bool:
    """Whether it is 0, and stays so."""
    return weight.start == weight.end == 0 if isinstance(weight, WeightRamp) else weight == 0
