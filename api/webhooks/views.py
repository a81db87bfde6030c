"""Webhooks, what they are sent, and the log of it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.jobs.views import Event, event, job_url
from jobs import tables as module
from jobs.log.outbox import word_for
from jobs.webhooks.deliveries import Claim


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
    state: module.DeliveryState
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


def webhook(row: module.Webhook) -> Webhook:
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


def new_webhook(row: module.Webhook, secret: str) -> NewWebhook:
    return NewWebhook(**dict(webhook(row)), secret=secret)


def webhook_url(webhook_id: str) -> str:
    return f"/webhooks/{webhook_id}"


def delivery(row: module.Delivery) -> Delivery:
    here = f"{webhook_url(row.webhook_id)}/deliveries/{row.id}"
    return Delivery(
        id=row.id,
        object="delivery",
        webhook_id=row.webhook_id,
        job_id=row.job_id,
        seq=row.seq,
        state=row.state,
        tries=row.tries,
        next_try_at=row.next_try_at if row.state is module.DeliveryState.PENDING else None,
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
