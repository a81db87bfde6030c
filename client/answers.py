"""What an answer must hold for those who go on with it: this client and the commands.

What answers may be a proxy, a server of another version, or somebody who means harm. Every answer is held to this
before anyone looks into it; what is not named here is passed on as it came, and nobody here relies on it.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json

from client.part import Part as Part
from client.specs import EvaluateSpec, ExportSpec, IngestSpec, ResolvedSpec

Json = dict[str, Any]
Number = float | Literal["NaN", "Infinity", "-Infinity"] | None
Size = Annotated[int, Field(ge=0, lt=1 << 63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _with_its_zone(moment: str) -> str:
    if datetime.fromisoformat(moment).tzinfo is None:
        raise ValueError("should have a time zone")
    return moment


Moment = Annotated[str, AfterValidator(_with_its_zone)]


class Page(Part):
    data: list[Json]
    has_more: bool
    next_cursor: str | None = None


# -- jobs ----------------------------------------------------------------------------------------------------------


class Progress(Part):
    fraction: float | None
    phase: str | None
    epoch: int | None = None
    epochs: int | None = None
    repetition: int | None = None
    repetitions: int | None = None
    images_per_second: Number = None
    eta_seconds: Number = None


class Waiting(Part):
    position: int | None = None
    reason: str | None = None
    message: str | None = None
    after: str | None = None


class JobError(Part):
    message: str
    hint: str | None = None
    retryable: bool = False
    suggested_patch: Json | None = None


class Result(Part):
    metrics: dict[str, Number]
    seconds: dict[str, Number]


class Limits(Part):
    max_run_seconds: float | None = None
    max_queue_seconds: float | None = None
    max_stall_seconds: float | None = None


class Estimate(Part):
    total_seconds: float | None
    seconds: dict[str, float | None]
    memory_bytes: Size | None = None
    jobs: Size
    error: float | None = None


class Job(Part):
    id: str
    status: str
    mode: str
    is_terminal: bool
    name: str | None
    labels: dict[str, str]
    priority: int
    phase: str | None
    progress: Progress
    attempt: int
    worker: str | None
    parent_job_id: str | None
    resolved_spec: ResolvedSpec | IngestSpec | EvaluateSpec | ExportSpec
    error: JobError | None
    result: Result | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None
    pause_requested_at: Moment | None = None
    waiting: Waiting | None = None
    limits: Limits | None = None
    keep_last: int = 1
    run_seconds: float | None = None
    estimate: Estimate | None = None


class Bulk(Part):
    changed: int


class SweepMember(Part):
    number: int
    point: Json
    job_id: str | None
    status: str | None
    error: str | None
    validation_top1: Number
    test_gain: Number
    parameters: Number
    latency_seconds: Number
    on_front: bool


class Sweep(Part):
    id: str
    status: str
    name: str | None
    mode: str
    sampler: str
    planned: int
    created_at: Moment


class SweepTable(Sweep):
    counts: dict[str, int]
    best: SweepMember | None
    members: list[SweepMember]


# -- events --------------------------------------------------------------------------------------------------------


class Event(Part):
    seq: Size
    type: str
    attempt: int
    data: Json


class Started(Part):
    device: str
    precision: str
    resumed_from_step: int = 0


class PhaseFacts(Part):
    rounds: float = 0
    views: float = 0
    images: float = 0
    arch: str | None = None


class Phase(Part):
    phase: str
    facts: PhaseFacts | None = None


class Accuracies(Part):
    top1: Number = None


class Evaluated(Part):
    phase: str
    split: str
    epoch: int
    metrics: Accuracies


class Noted(Part):
    code: str
    message: str


DATA: dict[str, type[Part]] = {"started": Started, "phase": Phase, "evaluated": Evaluated, "noted": Noted}


# -- curves --------------------------------------------------------------------------------------------------------


class Curve(Part):
    step: list[int]
    value: list[Number]

    @model_validator(mode="after")
    def _is_whole(self) -> "Curve":
        if len(self.step) != len(self.value):
            raise PydanticCustomError("curve", "should have as many values as steps")
        return self


class Curves(Part):
    job_id: str
    series: dict[str, Curve]
    begins_anew: bool = True
    from_step: int = 0
    has_more: bool = False
    next_cursor: str | None = None


# -- files and workers ---------------------------------------------------------------------------------------------


class Checkpoint(Part):
    id: str
    file: str
    size: Size
    sha256: Sha256


class Artifact(Part):
    name: str
    size: Size
    sha256: Sha256


class Worker(Part):
    name: str
    status: str
    job_id: str | None
    gpus: int
    memory_bytes: float | None
    heartbeat_age_seconds: float
    trouble: str | None


# -- checking ------------------------------------------------------------------------------------------------------


def parse(text: str | bytes) -> Any:
    """What the JSON says; `ValueError` when it is none, too deep, or has text that UTF-8 cannot hold."""
    return from_json(text, allow_inf_nan=False)


def fault(content: Json, kind: type[Part]) -> str | None:
    """What keeps it from being of this kind, in words; None if nothing does."""
    try:
        read = kind.model_validate(content)
        if isinstance(read, Event) and read.type in DATA:
            DATA[read.type].model_validate(read.data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"in its {kind.__name__.lower()}, {place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return None
