"""What a run says while it goes: plain facts, as pydantic models, one JSON line each. No torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Phase = Literal["teacher", "labelling", "student", "control", "evaluating"]


class Said(BaseModel):
    # NaN and infinities are facts too: they travel as the strings "NaN", "Infinity" and "-Infinity".
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Started(Said):
    """The first word of a run, before data or models are touched."""

    event: Literal["started"] = "started"
    mode: str
    device: str
    precision: str
    torch: str
    resumed_from_step: int = 0


class PhaseStarted(Said):
    """A phase begins, or goes on after a resume. `total` counts epochs, or images while labelling."""

    event: Literal["phase"] = "phase"
    phase: Phase
    epochs: int = 0
    facts: dict[str, float | int | str] = {}


class Step(Said):
    """Progress: `step` counts over the whole run; `metrics` are means since the last Step.

    `fraction` is the share of the run's arithmetic that is done, in 0..1.
    """

    event: Literal["step"] = "step"
    phase: Phase
    step: int
    epoch: int = 0
    epochs: int = 0
    metrics: dict[str, float] = {}
    images_per_second: float = 0
    fraction: float = 0
    eta_seconds: float | None = None


class Evaluated(Said):
    """An accuracy was measured on a split; fractions in 0..1, `nll` in nats."""

    event: Literal["evaluated"] = "evaluated"
    phase: Phase
    step: int
    epoch: int
    split: Literal["validation", "test"]
    metrics: dict[str, float]


class RoundEnded(Said):
    """A round of `guide` is over. `guide` says who taught; `metrics` are of the validation split: `teacher_top1`, the
    student's `top1`, the `agreement` of the two, and `kl`, KL(teacher‖student) in nats."""

    event: Literal["round"] = "round"
    step: int
    round: int
    rounds: int
    guide: str
    metrics: dict[str, float]


class SavedFile(Said):
    """A file of the run, complete on disk. `path` is relative to the run's `out` folder."""

    name: str
    path: str
    size: int
    sha256: str


class Saved(Said):
    """A checkpoint: enough to go on from (`resume`), and a student once there is one.

    `best`: this student has the best validation accuracy so far.
    """

    event: Literal["saved"] = "saved"
    phase: Phase
    step: int
    epoch: int
    resume: SavedFile
    student: SavedFile | None = None
    best: bool = False
    metrics: dict[str, float] = {}


class Wrote(Said):
    """A file for people, besides the checkpoints: the teacher's weights, the report."""

    event: Literal["wrote"] = "wrote"
    file: SavedFile


class Noted(Said):
    """Something worth a sentence: labels were reused, the teacher is no better than the control."""

    event: Literal["noted"] = "noted"
    code: str
    message: str


class LabelsKept(Said):
    """So many labels of the run's table are safe on disk, more than it found: the next run goes on from them."""

    event: Literal["labels_kept"] = "labels_kept"
    count: int


class Waiting(Said):
    """Alive, with nothing to do: another run writes the labels that this one needs. Said again and again."""

    event: Literal["waiting"] = "waiting"


class Finished(Said):
    """The last word of a run. Metrics are named like `student.test.top1`; accuracies are fractions in 0..1."""

    event: Literal["finished"] = "finished"
    step: int
    metrics: dict[str, float]
    seconds: dict[str, float]


Event = Annotated[
    Started | PhaseStarted | Step | Evaluated | RoundEnded | Saved | Wrote | Noted | LabelsKept | Waiting | Finished,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def parse(line: str | bytes) -> Event:
    """The event that a JSON line holds."""
    return _EVENT.validate_json(line)
