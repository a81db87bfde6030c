"""A run told as it goes: which phase it is in, the latest accuracy, what each finished phase came to.

Fed with events, from a server or from `kd.run` alike: their type and their data as JSON.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.shown import numbers

# In `guide`, labelling and student alternate: a phase is over when a later one in this list begins.
ORDER = ("teacher", "labelling", "student", "control", "evaluating")


@dataclass
class Chapter:
    """What is known of one phase."""

    facts: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    best: float | None = None  # validation accuracy
    over: bool = False


@dataclass
class Story:
    """Hear every event once, in order; `hear` answers with the lines that are news to a reader."""

    chapters: dict[str, Chapter] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)  # of each phase, the latest on validation
    verdict: str | None = None

    @property
    def teacher_brought(self) -> str | None:
        """The architecture of a teacher that was brought along."""
        chapter = self.chapters.get("teacher", Chapter())
        return chapter.facts.get("arch")

    def hear(self, kind: str, data: Mapping[str, Any]) -> Iterator[str]:
        if kind == "started":
            yield self._opening(data)
        elif kind == "phase":
            yield from self._close_before(data["phase"])
            chapter = self.chapters.setdefault(data["phase"], Chapter())
            chapter.facts, chapter.over = data.get("facts") or {}, False
        elif kind == "evaluated" and data["split"] == "validation":
            chapter = self.chapters.setdefault(data["phase"], Chapter())
            accuracy = self.accuracy[data["phase"]] = float(data["metrics"]["top1"])
            chapter.epochs, chapter.best = data["epoch"], max(accuracy, chapter.best or 0.0)
        elif kind == "noted" and data["code"] == "verdict":
            self.verdict = data["message"]
        elif kind == "noted":
            yield data["message"]
        elif kind == "finished":
            yield from self._close_before(None)

    def _opening(self, data: Mapping[str, Any]) -> str:
        step = data.get("resumed_from_step")
        how = f"goes on from step {step:,}" if step else "begins"
        return f"The run {how} on {data['device']} ({data['precision']})."

    def _close_before(self, phase: str | None) -> Iterator[str]:
        for name in ORDER if phase is None else ORDER[: ORDER.index(phase)]:
            chapter = self.chapters.get(name)
            if chapter is None or chapter.over:
                continue
            chapter.over = True
            if said := summary(name, chapter):
                yield f"{name:<10} {said}"


def heard(events: Iterable[Mapping[str, Any]]) -> Story:
    """The story of a run that is over."""
    story = Story()
    for event in events:
        for _ in story.hear(event["type"], event["data"]):
            pass
    return story


def summary(name: str, chapter: Chapter) -> str | None:
    """What a finished phase came to."""
    facts = chapter.facts
    if name == "labelling":
        if "rounds" in facts:
            return f"{facts['views']} views of each image in each of {facts['rounds']} rounds"
        return f"{facts['views']} views of {facts['images']:,} images" if "views" in facts else None
    if chapter.best is None:
        return None
    if not chapter.epochs:
        return f"{numbers.per_cent(chapter.best)} on validation, brought along"
    epochs = "1 epoch" if chapter.epochs == 1 else f"{chapter.epochs} epochs"
    return f"{numbers.per_cent(chapter.best)} on validation, the best of {epochs}"
