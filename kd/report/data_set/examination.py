"""What the examination of a data set has found, as `report.json` beside its files has it. To read it takes no numpy."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from kd.data import parts

Severity = Literal["fault", "warning", "note"]
Scope = Literal["all", "across_splits", "none"]
TOLD_BY_PACKING = frozenset({"contrary_duplicates", "shared_duplicates", "duplicates", "unreadable", "enlarged"})
"""Findings of which whoever brought the images has heard already, when they are packed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Picture(_Part):
    """An image, small."""

    number: int
    label: str
    split: parts.Name
    file: str | None
    """As it was named where it came from."""
    png: str
    """A data URI."""


class Example(_Part):
    """One image, or two that are alike."""

    pictures: tuple[Picture, ...]
    similarity: float | None = None
    """The correlation of two that are nearly the same."""


class Finding(_Part):
    code: str
    severity: Severity
    count: int
    """Of images, files or classes."""
    message: str
    examples: tuple[Example, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    """The first files or classes, each with what there is to say of it."""


class ClassCounts(_Part):
    name: str
    train: int
    validation: int
    test: int


class Sample(_Part):
    """A class, and what a few of its images look like."""

    label: str
    pictures: tuple[Picture, ...]


class Compared(_Part):
    """How near duplicates were looked for."""

    scope: Scope
    similar: float
    similar_in_detail: float


class Examination(_Part):
    format: Literal[1] = 1
    version: str
    name: str
    digest: str
    source: str | None
    """The file or the folder that it was made of."""
    shape: tuple[int, int, int]
    """channels, height, width"""
    findings: tuple[Finding, ...]
    """The worst first."""
    classes: tuple[ClassCounts, ...]
    compared: Compared
    samples: tuple[Sample, ...]

    def images(self, split: parts.Name) -> int:
        return sum(getattr(counts, split) for counts in self.classes)

    def remarks(self, *, after_packing: bool = False) -> list[str]:
        """Each finding in a sentence or two; `after_packing` those that packing has not told."""
        told = TOLD_BY_PACKING if after_packing else frozenset()
        found = [finding.message for finding in self.findings if finding.code not in told]
        return found or ["The examination has found nothing wrong." if not self.findings else "Nothing else is wrong."]
