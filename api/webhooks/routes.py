"""Webhooks: who is told of events, what was sent to them, and how that went."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as InQuery
from pydantic import Field
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from api.dependencies import Database, Settings
from api.http import body, pages
from api.http.pages import PageQuery, cursor
from api.http.problems import Invalid
from api.webhooks import public_addresses, views
from api.webhooks.public_addresses import Allowed, Refused
from api.webhooks.sender import WebhookSender
from jobs import ids
from jobs.envelope import label_key, printable
from jobs.errors import DeliveryNotFound, WebhookNotFound
from jobs.log.events import EVENTS
from jobs.tables import DeliveryState
from jobs.webhooks import subscriptions
from jobs.webhooks.subscriptions import UnknownEvent
from kd.spec import Part
from kd.spec.faults import Fault

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


def _event(word: str) -> str:
    try:
        subscriptions.refuse_unknown(word)
    except UnknownEvent as error:
        raise PydanticCustomError("event", "{why}", {"why": str(error)}) from None
    return word


def _label(label: str) -> str:
    label_key(label.partition("=")[0])
    return printable(label)


class NewWebhook(Part):
    """Whom to tell of what."""

    url: Annotated[str, Field(min_length=1, max_length=public_addresses.MAX_URL), AfterValidator(printable)] = Field(
        description="https:// or http:// to a public address, or to one that the server's settings allow"
    )
    events: list[Annotated[str, AfterValidator(_event)]] = Field(
        default=[],
        max_length=len(EVENTS),
        description="types of events, or changes of state such as state.succeeded; none: every change of state",
        json_schema_extra={"items": {"type": "string", "enum": list(EVENTS)}},
    )
    label: Annotated[str, Field(max_length=330), AfterValidator(_label)] | None = Field(
        default=None, description="only of jobs with this label: `key=value`, or `key` for any value"
    )


def _wanted(wanted: Annotated[NewWebhook, Depends(body.of(NewWebhook))], settings: Settings) -> NewWebhook:
    try:
        public_addresses.check_url(wanted.url, Allowed.by(settings))
    except Refused as error:
        raise Invalid([Fault("/url", str(error))]) from None
    return wanted


async def _webhook_id(webhook_id: str) -> str:
    """An id that we could have made; anything else never reaches the database."""
    if not ids.is_id("hook", webhook_id):
        raise WebhookNotFound(webhook_id[:100])
    return webhook_id


async def _delivery_id(delivery_id: str) -> str:
    if not ids.is_id("dlv", delivery_id):
        raise DeliveryNotFound(delivery_id[:100])
    return delivery_id


async def _sender(request: Request) -> WebhookSender:
    sender: WebhookSender = request.app.state.webhook_sender
    return sender


Wanted = Annotated[NewWebhook, Depends(_wanted)]
WebhookId = Annotated[str, Depends(_webhook_id)]
DeliveryId = Annotated[str, Depends(_delivery_id)]
Sender = Annotated[WebhookSender, Depends(_sender)]


class WebhookPage(PageQuery):
    after: str | None = cursor(ids.pattern("hook"))


class DeliveryPage(PageQuery):
    after: str | None = cursor(ids.pattern("dlv"))

    state: DeliveryState | None = None


LOCATION = {"Location": {"description": "where the webhook is", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    openapi_extra=body.schema_of(NewWebhook),
    responses={201: {"headers": LOCATION}, 409: {"description": "there are too many"}},
)
def add_webhook(wanted: Wanted, db: Database, response: Response) -> views.NewWebhook:
    """Be told of events from now on. The answer holds the secret that signs them; it is shown this once."""
    with db.begin() as session:
        row, secret = subscriptions.add(session, wanted.url, wanted.events, wanted.label)
    response.headers["Location"] = views.webhook_url(row.id)
    response.headers["Cache-Control"] = "no-store"
    return views.new_webhook(row, secret)


@router.get("")
def list_webhooks(wanted: Annotated[WebhookPage, InQuery()], db: Database) -> pages.Page[views.Webhook]:
    """Webhooks, the newest first."""
    with db.read() as session:
        found = subscriptions.page(session, limit=wanted.limit, after=wanted.after)
    return pages.page([views.webhook(row) for row in found.items], found.next_cursor)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: WebhookId, db: Database) -> views.Webhook:
    """A webhook, without its secret."""
    with db.read() as session:
        row = subscriptions.get(session, webhook_id)
    return views.webhook(row)


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: WebhookId, db: Database) -> None:
    """Tell it nothing more, and forget what it was told."""
    with db.begin() as session:
        subscriptions.remove(session, webhook_id)


@router.post("/{webhook_id}/enable")
def enable_webhook(webhook_id: WebhookId, db: Database) -> views.Webhook:
    """Tell a webhook again that was disabled by answering 410 Gone; of what happens from now on."""
    with db.begin() as session:
        row = subscriptions.enable(session, webhook_id)
    return views.webhook(row)


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: WebhookId, wanted: Annotated[DeliveryPage, InQuery()], db: Database
) -> pages.Page[views.Delivery]:
    """What was sent, or waits to be, and how that went; the newest first."""
    with db.read() as session:
        found = subscriptions.deliveries(
            session, webhook_id, state=wanted.state, limit=wanted.limit, after=wanted.after
        )
    return pages.page([views.delivery(row) for row in found.items], found.next_cursor)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses={200: {"model": views.Delivery}, 409: {"description": "the webhook is disabled"}},
)
def redeliver(
    webhook_id: WebhookId, delivery_id: DeliveryId, db: Database, sender: Sender, response: Response
) -> views.Delivery:
    """Send it once more, under the id that it had. 200 if it waits to be sent anyway."""
    with db.begin() as session:
        row, changed = subscriptions.redeliver(session, webhook_id, delivery_id)
    sender.wake()
    response.status_code = 202 if changed else 200
    return views.delivery(row)
