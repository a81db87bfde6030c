"""What clients are shown of the rows. No field has a default: a view says all of it, or does not exist."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field

from jobs import models
from jobs.deliveries import Claim
from jobs.queue import Waiting as QueuePlace
from jobs.states import FINAL, State
from jobs.webhooks import word_for
from jobs.workers import Status, WorkerNow
from kd import catalog, label_cache

# JSON has no NaN: a diverged loss reads "NaN", and "Infinity" or "-Infinity".
Number = int | float | Literal["NaN", "Infinity", "-Infinity"]
Numbers = dict[str, Number]


class Progress(BaseModel):
    fraction: Annotated[float, Field(ge=0, le=1)]
    phase: str | None
    epoch: int | None
    epochs: int | None
    step: int | None
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


class Limits(BaseModel):
    max_run_seconds: float | None
    max_queue_seconds: float | None
    max_stall_seconds: float | None


class Waiting(BaseModel):
    """Why a queued job waits."""

    position: Annotated[int | None, Field(description="1 is next; null: beyond the first thousand")]
    reason: str
    message: str


class Result(BaseModel):
    metrics: Numbers
    best_checkpoint: str | None
    seconds: Numbers


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


class Event(BaseModel):
    seq: int
    type: str
    attempt: int
    at: datetime
    data: dict[str, Any]


class Series(BaseModel):
    """One curve, column by column: the i-th value was measured at the i-th step."""

    step: list[int]
    value: list[Number]


class Metrics(BaseModel):
    object: Literal["metrics"]
    job_id: str
    series: dict[str, Series]


class CheckpointUrls(BaseModel):
    self: str
    download: str


class Checkpoint(BaseModel):
    id: str
    object: Literal["checkpoint"]
    job_id: str
    attempt: int
    phase: str
    step: int
    epoch: int
    best: bool
    pinned: bool
    metrics: Numbers
    file: str
    size: int
    sha256: str
    created_at: datetime
    urls: CheckpointUrls


class ArtifactUrls(BaseModel):
    download: str


class Artifact(BaseModel):
    object: Literal["artifact"]
    job_id: str
    name: str
    size: int
    sha256: str
    created_at: datetime
    urls: ArtifactUrls


class NumpyFile(BaseModel):
    """A file that NumPy reads."""

    shape: list[int]
    dtype: str
    size: int
    sha256: str


class ViewParameters(NumpyFile):
    columns: list[str]


class LabelTableUrls(BaseModel):
    self: str
    download: str
    views: str


class LabelTable(BaseModel):
    """What a teacher said of every view of every image. What only a finished table knows is null until then."""

    id: str
    object: Literal["label_table"]
    status: label_cache.State
    size: Annotated[int, Field(description="bytes that it takes on disk, all in all")]
    teacher_arch: str | None
    teacher_digest: str | None
    dataset: str | None
    dataset_digest: str | None
    precision: str | None
    plan: Annotated[dict[str, Any] | None, Field(description="which views of an image there are")]
    labels: NumpyFile | None
    view_parameters: ViewParameters | None
    created_at: datetime
    used_at: datetime
    urls: LabelTableUrls


class Model(BaseModel):
    object: Literal["model"]
    name: str
    family: str


class Health(BaseModel):
    status: Literal["ok", "ready"]


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """A part of a list. With `has_more`, ask again with `after` = `next_cursor`."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next_cursor: str | None


# -- from rows --------------------------------------------------------------------------------------------


def page(data: Sequence[Item], next_cursor: str | None = None) -> Page[Item]:
    return Page(object="list", data=list(data), has_more=next_cursor is not None, next_cursor=next_cursor)


def job(row: models.Job, waiting: QueuePlace | None = None) -> Job:
    here = job_url(row.id)
    return Job(
        id=row.id,
        object="job",
        status=row.state,
        phase=row.phase,
        is_terminal=row.state in FINAL,
        mode=row.mode,
        name=row.name,
        labels=row.labels,
        spec=row.spec,
        resolved_spec=row.resolved_spec,
        priority=row.priority,
        limits=Limits(
            max_run_seconds=row.max_run_seconds,
            max_queue_seconds=row.max_queue_seconds,
            max_stall_seconds=row.max_stall_seconds,
        ),
        keep_last=row.keep_last,
        waiting=waiting and Waiting(position=waiting.position, reason=waiting.reason, message=waiting.message),
        progress=_progress(row.progress),
        latest_metrics=row.latest_metrics,
        attempt=row.attempt,
        run_seconds=round(row.run_seconds, 3),
        worker=row.lease_owner,
        error=_error(row.error),
        result=_result(row.result),
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
        ),
    )


SHOWN_OF_MANY = 1_000


def bulk(ids: Sequence[str]) -> Bulk:
    return Bulk(object="bulk", changed=len(ids), ids=list(ids[:SHOWN_OF_MANY]))


def job_url(job_id: str) -> str:
    return f"/jobs/{job_id}"


def _progress(said: Mapping[str, Any]) -> Progress:
    return Progress(
        fraction=said.get("fraction", 0),
        phase=said.get("phase"),
        epoch=said.get("epoch"),
        epochs=said.get("epochs"),
        step=said.get("step"),
        images_per_second=said.get("images_per_second"),
        eta_seconds=said.get("eta_seconds"),
    )


def _error(said: Mapping[str, Any] | None) -> JobError | None:
    if said is None:
        return None
    return JobError(
        code=said["code"],
        message=said["message"],
        hint=said.get("hint"),
        retryable=said.get("retryable", False),
        suggested_patch=said.get("suggested_patch"),
    )


def _result(said: Mapping[str, Any] | None) -> Result | None:
    if said is None:
        return None
    return Result(
        metrics=said.get("metrics", {}),
        best_checkpoint=said.get("best_checkpoint"),
        seconds=said.get("seconds", {}),
    )


def event(row: models.Event) -> Event:
    return Event(seq=row.seq, type=row.type, attempt=row.attempt, at=row.at, data=row.data)


def number(value: float) -> Number:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def metrics(job_id: str, found: Mapping[str, Sequence[tuple[int, float]]]) -> Metrics:
    return Metrics(
        object="metrics",
        job_id=job_id,
        series={
            name: Series(step=[step for step, _ in curve], value=[number(value) for _, value in curve])
            for name, curve in found.items()
        },
    )


def student(row: models.Checkpoint) -> models.File:
    assert row.student, "only checkpoints with a student are shown"
    return row.student


def checkpoint(row: models.Checkpoint) -> Checkpoint:
    weights = student(row)
    here = f"{job_url(row.job_id)}/checkpoints/{row.id}"
    return Checkpoint(
        id=row.id,
        object="checkpoint",
        job_id=row.job_id,
        attempt=row.attempt,
        phase=row.phase,
        step=row.step,
        epoch=row.epoch,
        best=row.best,
        pinned=row.pinned,
        metrics=row.metrics,
        file=weights.name,
        size=weights.size,
        sha256=weights.sha256,
        created_at=row.created_at,
        urls=CheckpointUrls(self=here, download=f"{here}/download"),
    )


def artifact(row: models.File) -> Artifact:
    return Artifact(
        object="artifact",
        job_id=row.job_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        created_at=row.created_at,
        urls=ArtifactUrls(download=f"{job_url(row.job_id)}/artifacts/{row.name}"),
    )


def label_table(entry: label_cache.Entry) -> LabelTable:
    here, facts = f"/label-tables/{entry.id}", entry.manifest
    return LabelTable(
        id=entry.id,
        object="label_table",
        status=entry.state,
        size=entry.bytes,
        teacher_arch=facts and facts.teacher_arch,
        teacher_digest=facts and facts.teacher,
        dataset=facts and facts.dataset_name,
        dataset_digest=facts and facts.dataset,
        precision=facts and facts.precision,
        plan=facts and dict(facts.plan),
        labels=facts
        and NumpyFile(shape=list(facts.shape), dtype="float16", size=entry.sizes[entry.array], sha256=facts.sha256),
        view_parameters=facts
        and ViewParameters(
            shape=[*facts.shape[:2], len(facts.columns)],
            dtype="int32",
            size=entry.sizes[entry.parameters],
            sha256=facts.parameters_sha256,
            columns=list(facts.columns),
        ),
        created_at=entry.created_at,
        used_at=entry.used_at,
        urls=LabelTableUrls(self=here, download=f"{here}/download", views=f"{here}/views"),
    )


FAMILIES = {
    "small": catalog.SMALL,
    "cifar_resnet": catalog.CIFAR_RESNETS,
    "wide_resnet": catalog.WIDE_RESNETS,
    "torchvision": catalog.TORCHVISION,
}


def model(name: str) -> Model:
    return Model(object="model", name=name, family=next(family for family, known in FAMILIES.items() if name in known))


# -- webhooks ---------------------------------------------------------------------------------------------


class WebhookUrls(BaseModel):
    self: str
    enable: str
    deliveries: str


class Webhook(BaseModel):
    id: str
    object: Literal["webhook"]
    url: str
    events: list[str]
    label: str | None
    created_at: datetime
    disabled_at: datetime | None
    urls: WebhookUrls


class NewWebhook(Webhook):
    secret: Annotated[str, Field(description="signs what is sent; shown this once")]


class DeliveryUrls(BaseModel):
    job: str
    redeliver: str


class Delivery(BaseModel):
    """An event on its way to a webhook. Its id is the header `webhook-id` of every try."""

    id: str
    object: Literal["delivery"]
    webhook_id: str
    job_id: str
    seq: Annotated[int, Field(description="of the event, in the job's log")]
    state: models.DeliveryState
    tries: int
    next_try_at: Annotated[datetime | None, Field(description="while it is pending")]
    last_status: Annotated[int | None, Field(description="of the last answer; null if there was none")]
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None
    urls: DeliveryUrls


class WebhookSubject(BaseModel):
    """The job that something happened to, and what it was."""

    id: str
    name: str | None
    labels: dict[str, str]
    url: str
    event: Event


class WebhookMessage(BaseModel):
    """What a webhook is sent."""

    type: str
    timestamp: datetime
    data: WebhookSubject


def webhook(row: models.Webhook) -> Webhook:
    here = webhook_url(row.id)
    return Webhook(
        id=row.id,
        object="webhook",
        url=row.url,
        events=row.events,
        label=row.label,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        urls=WebhookUrls(self=here, enable=f"{here}/enable", deliveries=f"{here}/deliveries"),
    )


def new_webhook(row: models.Webhook, secret: str) -> NewWebhook:
    return NewWebhook(**dict(webhook(row)), secret=secret)


def webhook_url(webhook_id: str) -> str:
    return f"/webhooks/{webhook_id}"


def delivery(row: models.Delivery) -> Delivery:
    here = f"{webhook_url(row.webhook_id)}/deliveries/{row.id}"
    return Delivery(
        id=row.id,
        object="delivery",
        webhook_id=row.webhook_id,
        job_id=row.job_id,
        seq=row.seq,
        state=row.state,
        tries=row.tries,
        next_try_at=row.next_try_at if row.state is models.DeliveryState.PENDING else None,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        urls=DeliveryUrls(job=job_url(row.job_id), redeliver=f"{here}/redeliver"),
    )


def webhook_message(claim: Claim) -> WebhookMessage:
    return WebhookMessage(
        type=f"job.{word_for(claim.event.type, claim.event.data)}",
        timestamp=claim.event.at,
        data=WebhookSubject(
            id=claim.job_id,
            name=claim.job_name,
            labels=dict(claim.labels),
            url=job_url(claim.job_id),
            event=event(claim.event),
        ),
    )


# -- workers ----------------------------------------------------------------------------------------------


class WorkerUrls(BaseModel):
    self: str
    drain: str
    undrain: str
    job: str | None


class Worker(BaseModel):
    """A process that runs jobs, as it last described itself."""

    name: str
    object: Literal["worker"]
    host: str
    pid: int
    version: str
    status: Status
    trouble: Annotated[str | None, Field(description="why it takes no job at the moment")]
    gpus: int
    gpu_names: list[str]
    memory_bytes: int
    job_id: Annotated[str | None, Field(description="what it works on")]
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    drain_requested_at: datetime | None
    urls: WorkerUrls


def worker(now: WorkerNow) -> Worker:
    here = f"/workers/{quote(now.name, safe='')}"
    return Worker(
        name=now.name,
        object="worker",
        host=now.host,
        pid=now.pid,
        version=now.version,
        status=now.status,
        trouble=now.trouble,
        gpus=now.offer.gpus,
        gpu_names=list(now.offer.gpu_names),
        memory_bytes=now.offer.memory_bytes,
        job_id=now.job_id,
        started_at=now.started_at,
        heartbeat_at=now.heartbeat_at,
        heartbeat_age_seconds=now.heartbeat_age_seconds,
        drain_requested_at=now.drain_requested_at,
        urls=WorkerUrls(
            self=here, drain=f"{here}/drain", undrain=f"{here}/undrain", job=now.job_id and job_url(now.job_id)
        ),
    )
