"""What a run says while it goes, and the trainer that carries it out: pydantic models, one JSON line each. No torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PHASES = (
    r"^(teacher(\.[1-9][0-9]*)?|labelling|student|control|label_smoothing|evaluating"
    r"|ingesting|examining|exporting|verifying)$"
)
Phase = Annotated[str, Field(pattern=PHASES)]
"""A member of a committee of teachers learns in a phase of its own: `teacher.1`, `teacher.2` and so on."""


def is_of_teacher(name: str) -> bool:
    """Whether a phase, or a role, is a teacher's: the only one's, a committee's, or that of a member of one."""
    return name.partition(".")[0] == "teacher"


class Fact(BaseModel):
    # NaN and infinities are facts too: they travel as the strings "NaN", "Infinity" and "-Infinity".
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class OfRepetition(Fact):
    """What is said within one of several repetitions, which count from 1; None: the run has one seed, or that is said
    of all of them."""

    repetition: int | None = None
    repetitions: int | None = None

    def curve(self, phase: str, name: str) -> str:
        """The name of a curve: each repetition has its own, `student.2.loss`."""
        return f"{phase}.{name}" if self.repetition is None else f"{phase}.{self.repetition}.{name}"


class Message(Fact):
    for_users: ClassVar[bool] = False
    """Users read it among their job's events, as it is here; the others become progress, curves and files."""

    def points(self) -> dict[tuple[str, int], float]:
        """What it adds to the run's curves, by name (`student.loss`, `teacher.validation.top1`) and step."""
        return {}


class Started(Message):
    """The first word of a run, before data or models are touched."""

    for_users = True
    event: Literal["started"] = "started"
    mode: str
    device: str
    precision: str
    torch: str
    resumed_from_step: int = 0


class PhaseStarted(Message, OfRepetition):
    """A phase begins, or goes on after a resume. `total` counts epochs, or images while labelling."""

    for_users = True
    event: Literal["phase"] = "phase"
    phase: Phase
    epochs: int = 0
    facts: dict[str, float | int | str] = {}


class Step(Message, OfRepetition):
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

    def points(self) -> dict[tuple[str, int], float]:
        measured = self.metrics | {"images_per_second": self.images_per_second}
        return {(self.curve(self.phase, name), self.step): value for name, value in measured.items()}


class Evaluated(Message, OfRepetition):
    """An accuracy was measured on a split; fractions in 0..1, `nll` in nats."""

    for_users = True
    event: Literal["evaluated"] = "evaluated"
    phase: Phase
    step: int
    epoch: int
    split: Literal["train", "validation", "test"]
    metrics: dict[str, float]

    def points(self) -> dict[tuple[str, int], float]:
        measured = {f"{self.split}.{name}": value for name, value in self.metrics.items()}
        return {(self.curve(self.phase, name), self.step): value for name, value in measured.items()}


class RoundEnded(Message, OfRepetition):
    """A round of `guide` is over. `guide` says who taught; `metrics` are of the validation split: `teacher_top1`, the
    student's `top1`, the `agreement` of the two, and `kl`, KL(teacher‖student) in nats."""

    for_users = True
    event: Literal["round"] = "round"
    step: int
    round: int
    rounds: int
    guide: str
    metrics: dict[str, float]

    def points(self) -> dict[tuple[str, int], float]:
        return {(self.curve("round", name), self.step): value for name, value in self.metrics.items()}


class SavedFile(Fact):
    """A file of the run, complete on disk. `path` is relative to the run's `out` folder."""

    name: str
    path: str
    size: int
    sha256: str


class Saved(Message):
    """A checkpoint: enough to go on from (`resume`), and a student once there is one.

    `best`: so far this student is the one to take, by what the validation split says. `fraction` is the share of the
    run's arithmetic that is safe with it, in 0..1: a run that is tried again has got further only if that is larger
    than it ever was.
    """

    event: Literal["saved"] = "saved"
    phase: Phase
    step: int
    epoch: int
    resume: SavedFile
    student: SavedFile | None = None
    best: bool = False
    metrics: dict[str, float] = {}
    fraction: float


class Wrote(Message):
    """A file for people, besides the checkpoints: the teacher's weights, the report."""

    event: Literal["wrote"] = "wrote"
    file: SavedFile


class Noted(Message):
    """Something worth a sentence: labels were reused, the teacher is no better than the control."""

    for_users = True
    event: Literal["noted"] = "noted"
    code: str
    message: str


class MadeSafe(Message):
    """So many labels of the run's table, or images of a data set, are safe on disk: who comes next goes on from them.
    `fraction` as in `Saved`."""

    event: Literal["made_safe"] = "made_safe"
    count: int
    fraction: float


class Waiting(Message):
    """Alive, with nothing to do: another run writes the labels that this one needs, and so many of them are safe. Said
    again and again; only a larger number is progress."""

    event: Literal["waiting"] = "waiting"
    count: int = 0


class Advanced(Message):
    """Something got further of which there is nothing to say (`kd.liveness`). Only from process to process: a run does
    not yield it."""

    event: Literal["advanced"] = "advanced"


class Verdict(Fact):
    """Was distillation worth it? `code`, and the same in a sentence."""

    code: Literal["better", "not_better", "undecided"]
    message: str
    to_decide: dict[str, int] = {}
    """`seeds` and `test_images`."""


class Finished(Message):
    """The last word of a run. Metrics are named like `student.test.top1`; accuracies are fractions in 0..1.

    `verdict` is None where there was no control; `to_decide` says with how many seeds, or test images, in all an
    undecided run would be decided, as far as that can be known.
    """

    for_users = True
    event: Literal["finished"] = "finished"
    step: int
    metrics: dict[str, float]
    seconds: dict[str, float]
    verdict: Verdict | None = None


class Ready(Message):
    """The first word of a trainer: torch is loaded, and an order will be carried out at once."""

    event: Literal["ready"] = "ready"


class Stopped(Message):
    """The last word of a trainer that was asked to stop: the run goes on from what it has saved."""

    event: Literal["stopped"] = "stopped"


class Failed(Message):
    """The last word of a trainer whose run cannot go on. `code` is one of `jobs.endings`."""

    event: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str
    retryable: bool


Event = Annotated[
    Started
    | PhaseStarted
    | Step
    | Evaluated
    | RoundEnded
    | Saved
    | Wrote
    | Noted
    | MadeSafe
    | Waiting
    | Advanced
    | Finished
    | Ready
    | Stopped
    | Failed,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)

FOR_USERS: tuple[str, ...] = tuple(
    kind.model_fields["event"].default for kind in Message.__subclasses__() if kind.for_users
)
"""The names of the events that users read."""


def parse(line: str | bytes) -> Event:
    """The event that a JSON line holds."""
    return _EVENT.validate_json(line)
