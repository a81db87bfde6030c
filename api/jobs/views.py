"""What clients are shown of jobs and of what they say.

No field has a default: a view says all of it, or does not exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.http.numbers import Number, Numbers
from jobs import endings
from jobs import tables as module
from jobs.envelope import Limits
from jobs.job import envelope_of
from jobs.queue.estimate import Estimate as TimeEstimate
from jobs.queue.place import Waiting as QueuePlace
from jobs.queue.preflight import Preflight as Reckoned
from jobs.queue.submit import Submission
from jobs.states import FINAL, State

SHOWN_OF_MANY = 1_000


class Progress(BaseModel):
    fraction: Annotated[float, Field(ge=0, le=1)]
    phase: str | None
    epoch: int | None
    epochs: int | None
    step: int | None
    repetition: Annotated[int | None, Field(description="of `repetitions`, where the run has several seeds")]
    repetitions: int | None
    images_per_second: Number | None
    eta_seconds: Number | None


class JobError(BaseModel):
    code: str
    message: str
    hint: str | None
    retryable: bool
    suggested_patch: Annotated[
        dict[str, Any] | None, Field(description="a JSON merge patch of the spec with which it may succeed")
    ]


class Waiting(BaseModel):
    """Why a queued job waits."""

    position: Annotated[int | None, Field(description="1 is next; null: beyond the first thousand, or it backs off")]
    reason: str
    message: str
    retry_at: Annotated[datetime | None, Field(description="of a job that backs off: when it is tried again")]
    after: Annotated[
        str | None, Field(description="of a job whose teacher is still to come: the job that will have it")
    ]


class Estimate(BaseModel):
    """What it would take, by what jobs that have ended took."""

    total_seconds: Annotated[float | None, Field(description="of all attempts; null: of a phase nothing is known")]
    seconds: Annotated[dict[str, float | None], Field(description="of each phase; null: that model has never run here")]
    memory_bytes: Annotated[
        int | None, Field(description="of the machine, at most; null: these models have not run here")
    ]
    jobs: Annotated[int, Field(description="by so many jobs, the last ones")]
    error: Annotated[
        float | None,
        Field(description="by which share of what they took the estimates of earlier jobs were off, as a rule"),
    ]


class Preflight(BaseModel):
    """What a submission would come to."""

    object: Literal["preflight"]
    mode: str
    resolved_spec: dict[str, Any]
    waits_for: Annotated[str | None, Field(description="the job that still has to have its teacher")]
    images: Annotated[int, Field(description="to learn from, without those for validation and test")]
    images_shown: Annotated[
        dict[str, int],
        Field(description="to each model that learns, over all epochs and seeds; a teacher may stop earlier"),
    ]
    images_labelled: Annotated[int, Field(description="views that the teacher labels, once for all seeds")]
    label_table_bytes: Annotated[
        int | None, Field(description="of the table, which is made once for all jobs that want it; null: none is kept")
    ]
    estimate: Estimate


def preflight(submission: Submission, found: Reckoned, estimate: TimeEstimate) -> Preflight:
    return Preflight(
        object="preflight",
        mode=submission.spec.mode,
        resolved_spec=submission.spec.model_dump(mode="json"),
        waits_for=found.waits_for,
        images=found.images,
        images_shown=found.images_shown,
        images_labelled=found.images_labelled,
        label_table_bytes=found.table_bytes,
        estimate=Estimate(**estimate.told()),
    )


class Verdict(BaseModel):
    """Was distillation worth it?"""

    code: Annotated[str, Field(description="`better`, `not_better` or `undecided`")]
    message: str
    to_decide: Annotated[
        dict[str, int], Field(description="of an undecided one: how many `seeds` or `test_images` in all would decide")
    ]


class Result(BaseModel):
    metrics: Numbers
    best_checkpoint: str | None
    seconds: Numbers
    verdict: Annotated[Verdict | None, Field(description="null: there was no control")]


class JobUrls(BaseModel):
    self: str
    cancel: str
    pause: str
    resume: str
    retry: str
    events: str
    metrics: str
    logs: str
    checkpoints: str
    artifacts: str
    report: str
    exports: str


class Job(BaseModel):
    id: str
    object: Literal["job"]
    status: State
    phase: str | None
    is_terminal: bool
    mode: str
    name: str | None
    labels: dict[str, str]
    spec: dict[str, Any]
    resolved_spec: dict[str, Any]
    priority: int
    limits: Limits
    keep_last: int
    waiting: Annotated[Waiting | None, Field(description="of a queued job: its place, and what it waits for")]
    progress: Progress
    latest_metrics: Numbers
    attempt: int
    run_seconds: Annotated[float, Field(description="of training, over all attempts")]
    worker: str | None
    error: JobError | None
    result: Result | None
    estimate: Annotated[
        Estimate | None, Field(description="what it was expected to take when it began, if that was known")
    ]
    parent_job_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    cancel_requested_at: datetime | None
    pause_requested_at: datetime | None
    urls: JobUrls


class Bulk(BaseModel):
    """What was done to many jobs at once."""

    object: Literal["bulk"]
    changed: int
    ids: Annotated[list[str], Field(description="the first thousand of them")]


def job(row: module.Job, waiting: QueuePlace | None = None) -> Job:
    here = job_url(row.id)
    return Job(
        id=row.id,
        object="job",
        status=row.state,
        phase=row.phase,
        is_terminal=row.state in FINAL,
        mode=row.mode,
        **dict(envelope_of(row)),
        spec=row.spec,
        resolved_spec=row.resolved_spec,
        waiting=waiting and Waiting(**asdict(waiting)),
        progress=_progress(row.state, row.progress),
        latest_metrics=row.latest_metrics,
        attempt=row.attempt,
        run_seconds=round(row.run_seconds, 3),
        worker=row.lease_owner,
        error=_error(row.error),
        result=_result(row.result),
        estimate=None if row.estimate is None else Estimate(**row.estimate),
        parent_job_id=row.parent_job_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        updated_at=row.updated_at,
        cancel_requested_at=row.cancel_requested_at,
        pause_requested_at=row.pause_requested_at,
        urls=JobUrls(
            self=here,
            cancel=f"{here}/cancel",
            pause=f"{here}/pause",
            resume=f"{here}/resume",
            retry=f"{here}/retry",
            events=f"{here}/events",
            metrics=f"{here}/metrics",
            logs=f"{here}/logs",
            checkpoints=f"{here}/checkpoints",
            artifacts=f"{here}/artifacts",
            report=f"{here}/report",
            exports=f"{here}/exports",
        ),
    )


def bulk(ids: Sequence[str]) -> Bulk:
    return Bulk(object="bulk", changed=len(ids), ids=list(ids[:SHOWN_OF_MANY]))


def job_url(job_id: str) -> str:
    return f"/jobs/{job_id}"


def _progress(state: State, said: Mapping[str, Any]) -> Progress:
    """What the trainer said last, as far as it still holds: it says nothing more once it has ended."""
    succeeded = state is State.SUCCEEDED
    eta_seconds = said.get("eta_seconds") if state is State.RUNNING else None
    return Progress(
        fraction=1 if succeeded else said.get("fraction", 0),
        phase=said.get("phase"),
        epoch=said.get("epoch"),
        epochs=said.get("epochs"),
        step=said.get("step"),
        repetition=said.get("repetition"),
        repetitions=said.get("repetitions"),
        images_per_second=said.get("images_per_second"),
        eta_seconds=0 if succeeded else eta_seconds,
    )


def _error(said: Mapping[str, Any] | None) -> JobError | None:
    return None if said is None else JobError(**endings.shown(said))


def _result(said: Mapping[str, Any] | None) -> Result | None:
    if said is None:
        return None
    return Result(
        metrics=said.get("metrics", {}),
        best_checkpoint=said.get("best_checkpoint"),
        seconds=said.get("seconds", {}),
        verdict=said.get("verdict"),
    )


class Event(BaseModel):
    seq: int
    type: str
    attempt: int
    at: datetime
    data: dict[str, Any]


def event(row: module.Event) -> Event:
    return Event(seq=row.seq, type=row.type, attempt=row.attempt, at=row.at, data=row.data)
