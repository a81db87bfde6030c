"""A run narrated as it goes: which phase it is in, the latest accuracy, what each finished phase came to.

Fed with events, from a server or from `kd.run` alike: their type and their data as JSON.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.shown import numbers

# In `guide`, labelling and student alternate: a phase is over when a later one in this list begins.
PHASES = ("teacher", "labelling", "student", "control", "label_smoothing", "evaluating")

UNKNOWN = (-1, 0)


@dataclass
class Phase:
    """What is known of one phase."""

    facts: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    highest: float | None = None  # validation accuracy
    over: bool = False


@dataclass
class Narration:
    """Tell it every event once, in order; `narrate` answers with the lines that are news to a reader."""

    phases: dict[str, Phase] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)  # of each phase, the latest on validation
    verdict: str | None = None
    repetition: int | None = None
    repetitions: int | None = None

    @property
    def brought(self) -> dict[str, str]:
        """The architectures of teachers that were brought along, by their roles."""
        return {name: phase.facts["arch"] for name, phase in self.phases.items() if phase.facts.get("arch")}

    def narrate(self, kind: str, data: Mapping[str, Any]) -> Iterator[str]:
        if kind == "started":
            yield self._opening(data)
        elif kind == "phase":
            yield from self._go_on_to(data.get("repetition"), data.get("repetitions"))
            yield from self._close_before(data["phase"])
            phase = self.phases.setdefault(data["phase"], Phase())
            phase.facts, phase.over = data.get("facts") or {}, False
        elif (
            kind == "evaluated" and data["split"] == "validation" and (top1 := data["metrics"].get("top1")) is not None
        ):
            phase = self.phases.setdefault(data["phase"], Phase())
            accuracy = self.accuracy[data["phase"]] = float(top1)
            phase.epochs, phase.highest = data["epoch"], max(accuracy, phase.highest or 0.0)
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

    def _go_on_to(self, repetition: int | None, repetitions: int | None) -> Iterator[str]:
        """Another seed begins all phases anew that come after the labels."""
        if repetition == self.repetition:
            return
        if self.repetition is not None:
            yield from self._close_before(None)
            for name in PHASES[2:]:
                self.phases.pop(name, None)
                self.accuracy.pop(name, None)
        self.repetition, self.repetitions = repetition, repetitions

    def _close_before(self, next_phase: str | None) -> Iterator[str]:
        for name, phase in sorted(self.phases.items(), key=lambda each: place(each[0])):
            if phase.over or place(name) == UNKNOWN or (next_phase is not None and place(name) >= place(next_phase)):
                continue
            phase.over = True
            if said := summary(name, phase):
                repeated = self.repetition is not None and name in PHASES[2:]
                which = f", repetition {self.repetition} of {self.repetitions}" if repeated else ""
                yield f"{name:<10} {said}{which}"


def place(phase: str) -> tuple[int, int]:
    """Where a phase comes in a run: a committee's teachers learn one after the other, and teach together then. A phase
    that is not known here ends none, and is ended by none: it is of another version of the server."""
    name, _, number = phase.partition(".")
    if name not in PHASES:
        return UNKNOWN
    return PHASES.index(name), int(number) if number.isdigit() else sys.maxsize


def narration_of(events: Iterable[Mapping[str, Any]]) -> Narration:
    """The narration of a run that is over."""
    narration = Narration()
    for event in events:
        for _ in narration.narrate(event["type"], event["data"]):
            pass
    return narration


def summary(name: str, phase: Phase) -> str | None:
    """What a finished phase came to."""
    facts = phase.facts
    if name == "labelling":
        if "rounds" in facts and "views" in facts:
            return f"{facts['views']} views of each image in each of {facts['rounds']} rounds"
        return f"{facts['views']} views of {facts['images']:,} images" if {"views", "images"} <= set(facts) else None
    if phase.highest is None or name == "evaluating":
        return None
    if not phase.epochs:
        how = ", brought along" if "arch" in facts else ""
        return f"{numbers.per_cent(phase.highest)} on validation{how}"
    epochs = "1 epoch" if phase.epochs == 1 else f"{phase.epochs} epochs"
    return f"{numbers.per_cent(phase.highest)} on validation, the highest of {epochs}"
