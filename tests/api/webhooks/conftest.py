"""A receiver on loopback, a server that may send to it, and a sender by hand."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.webhooks import sender as webhook_sender
from api.webhooks.public_addresses import Allowed
from api.webhooks.sender import WebhookSender
from jobs.queue import submit
from jobs.settings import Settings
from jobs.tables import Delivery
from jobs.webhooks import subscriptions
from kd.spec import parse
from tests.support.receiving import Receiver

LOOPBACK = "127.0.0.0/8"


@pytest.fixture(autouse=True)
def _senders_that_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "EVERY_SECONDS", 0.05)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, webhook_hosts=LOOPBACK)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def now() -> datetime:
    """Receivers look at the time of a message, so it has to be about now."""
    return datetime.now(UTC)


@pytest.fixture
def sender(db: Any) -> WebhookSender:
    """A server's sender, by hand: it sends when a test says so, at the time that a test says."""
    return WebhookSender(db, Allowed(networks=Settings(webhook_hosts=LOOPBACK).webhook_targets.networks))


@pytest.fixture
def hook(db: Any, receiver: Receiver, now: datetime) -> Callable[..., tuple[str, str]]:
    """Add a webhook; returns its id and its secret."""

    def hook(*events: str, url: str | None = None) -> tuple[str, str]:
        with db.begin() as session:
            row, secret = subscriptions.add(session, url or receiver.url(), events, now=now)
        return row.id, secret

    return hook


@pytest.fixture
def add(db: Any, now: datetime) -> Callable[[], str]:
    def add() -> str:
        with db.begin() as session:
            return submit.add_job(session, parse({"mode": "train", "config": {}}), now=now).id

    return add


@pytest.fixture
def log(db: Any) -> Callable[[str], list[Delivery]]:
    def log(webhook_id: str) -> list[Delivery]:
        with db.read() as session:
            return subscriptions.deliveries(session, webhook_id, limit=1000).items[::-1]

    return log
