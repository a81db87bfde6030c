"""Where a run stands: what is finished, and what is under way."""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from torch import Tensor

from kd.models.weights import State
from kd.training.curve import Point

Scores = dict[str, float]


def is_better(scores: Scores, than: Scores) -> bool:
    """Higher accuracy, or the same with less surprise: on a small split ties are common."""
    return (scores["top1"], -scores["nll"]) > (than["top1"], -than["nll"])


@dataclass(frozen=True)
class Moment:
    """A model as it was after an epoch, and how it did on the validation split."""

    epoch: int
    weights: State
    scores: Scores

    @property
    def top1(self) -> float:
        return self.scores["top1"]


@dataclass(frozen=True)
class Record:
    """The epoch of the highest validation accuracy, which need not be the one that is kept."""

    epoch: int
    scores: Scores


@dataclass(frozen=True)
class Outcome:
    """What came of a phase that trained a model. `anchors` are moments on the way to the best one, in their order."""

    best: Moment
    last: State
    epochs: int
    anchors: tuple[Moment, ...] = ()
    objective: State = field(default_factory=dict)  # what it has trained, for a run that is to go on for more epochs
    curve: tuple[Point, ...] = ()  # none of those that an earlier version has trained
    record: Record | None = None  # none where an earlier version has trained, or nobody


@dataclass(frozen=True)
class Training:
    """The loop under way: all that it needs to go on before batch number `batch` of epoch number `epoch`."""

    epoch: int
    batch: int
    model: State
    optimizer: dict[str, Any]
    objective: State
    average: State | None
    best: Moment
    stopped: bool
    scores: Scores
    stride: int  # of the moments
    moments: tuple[Moment, ...]
    guidance: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)  # of the gradients; nothing but in fp16
    curve: tuple[Point, ...] = ()
    sums: dict[str, float] = field(default_factory=dict)  # of the curve's epoch under way
    record: Record | None = None  # none if an earlier version has saved it


@dataclass(frozen=True)
class Measured:
    """What the test split said of one seed's models, by role; the teacher is among those of the first."""

    seed: int
    metrics: Scores  # named as in the report
    predicted: dict[str, Tensor]  # the class that each test image was taken for, int32 [N]

    @property
    def student_scores(self) -> Scores:
        """The student's on the validation split, by which the best one is chosen."""
        return {which: self.metrics[f"student.validation.{which}"] for which in ("top1", "nll")}


@dataclass
class Position:
    """Where a run stands. `step` counts optimizer steps, labelling batches and finished phases of the whole run."""

    step: int = 0
    phase: str = ""
    dataset: str = ""  # its digest
    starts: dict[str, str] = field(default_factory=dict)  # digests of what models begin from, by their roles
    teacher_arch: str = ""
    member_archs: tuple[str, ...] = ()  # of a committee
    finished: tuple[str, ...] = ()  # phases, in their order
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # of those that trained a model
    current: Training | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # phase -> time spent, over all attempts
    extensions: tuple[dict[str, int], ...] = ()  # `epochs` that became `to`, at the step `step`
    reopened: dict[str, Outcome] = field(default_factory=dict)  # what came of phases that an extension has reopened
    report: dict[str, Any] | None = None  # what the evaluation found, once it is finished
    repetition: int = 0  # which of the seeds is under way
    measured: tuple[Measured, ...] = ()  # of the seeds that are over, in their order
    suspects: list[dict[str, Any]] | None = None  # images whose label the teacher doubts; none: nobody has looked
    evidence: dict[str, Any] | None = None  # for the page, of that one among them whose student is the best


def to_plain(position: Position) -> dict[str, Any]:
    """The position as dicts, tuples, numbers and tensors, which is all that a safe reader of files takes."""
    return _plain(position)  # type: ignore[no-any-return]


def from_plain(given: dict[str, Any]) -> Position:
    """The position that `to_plain` has made plain. Raises TypeError or KeyError for anything else."""
    current = given["current"]
    return Position(
        **given
        | {
            "outcomes": {phase: _outcome(outcome) for phase, outcome in given["outcomes"].items()},
            "reopened": {phase: _outcome(outcome) for phase, outcome in given["reopened"].items()},
            "current": None if current is None else _training(current),
            "measured": tuple(Measured(**measured) for measured in given.get("measured", ())),
        }
    )


def _plain(value: Any) -> Any:
    # Not `asdict`, which copies every tensor.
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return tuple(_plain(inner) for inner in value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def _moments(given: tuple[dict[str, Any], ...]) -> tuple[Moment, ...]:
    return tuple(Moment(**moment) for moment in given)


def _outcome(given: dict[str, Any]) -> Outcome:
    return Outcome(**given | _best_and_record(given) | {"anchors": _moments(given["anchors"])})


def _training(given: dict[str, Any]) -> Training:
    return Training(**given | _best_and_record(given) | {"moments": _moments(given["moments"])})


def _best_and_record(given: dict[str, Any]) -> dict[str, Any]:
    record = given.get("record")
    return {"best": Moment(**given["best"]), "record": None if record is None else Record(**record)}
