"""Sends deliveries to webhooks, signed as the Standard Webhooks specification says. Servers share the work.

The database says what is due and keeps the outcome (`jobs/webhooks/`): what a server that dies was sending, another one
sends again.
"""

import base64
import contextlib
import functools
import hmac
import ssl
import threading
import time
from collections import Counter
from datetime import datetime

import httpcore2
import httpx2
import structlog

from api.webhooks import views
from api.webhooks.public_addresses import Allowed, PublicNetwork
from jobs.database import clock, storable
from jobs.database.engine import Sessions
from jobs.pace import rest
from jobs.webhooks import deliveries, fan_out
from jobs.webhooks.deliveries import DELAYS, GONE, Claim

log = structlog.get_logger()

EVERY_SECONDS = 0.5
AFTER_TROUBLE_SECONDS = 5.0
CLOSE_SECONDS = 5.0

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
ANSWER_BYTES = 16 * 1024
SHOWN_CHARACTERS = 200

AT_ONCE_TO_ONE = 2
MANY = 16
"""When so many are on their way, a receiver gets one at a time. It always gets that one: a slow receiver holds up its
own deliveries, never those of the others."""


@functools.cache
def trusted_here() -> ssl.SSLContext:
    """Whom this machine trusts. To read all its certificates takes longer than the rest of a server's start."""
    return httpcore2.default_ssl_context()


class WebhookSender:
    """A thread that looks for what is due, and a thread for each delivery on its way."""

    def __init__(self, database: Sessions, allowed: Allowed, *, tls: ssl.SSLContext | None = None):
        self._database, self._allowed = database, allowed
        self._tls = tls or trusted_here()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._sending: dict[threading.Thread, str] = {}  # -> the webhook
        self._seen_at: datetime | None = None  # by the database's clock
        self._thread = threading.Thread(target=self._repeat, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What does not arrive within some seconds is sent by somebody else, later."""
        give_up = time.monotonic() + CLOSE_SECONDS
        self._stop.set()
        self._wake.set()
        for thread in (self._thread, *self._under_way()):
            thread.join(max(0.0, give_up - time.monotonic()))

    def wake(self) -> None:
        """Look now: something has just become due."""
        self._wake.set()

    def send_all_due(self, now: datetime | None = None) -> None:
        """Send all that is due, and what becomes due by that."""
        while started := self._send_due(now):
            for thread in started:
                thread.join()

    def _repeat(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(EVERY_SECONDS)
            self._wake.clear()
            try:
                self._mind_the_clock()
                self._send_due()
            except Exception as error:  # a database that is away now may be back in a moment
                log.warning("webhooks_failed", error=str(error), recurs=True)
                self._stop.wait(AFTER_TROUBLE_SECONDS)

    def _mind_the_clock(self) -> None:
        """A clock that was ahead, and has been set right, must not keep back what was due by it."""
        with self._database.read() as session:
            now = clock.read(session)
        if self._seen_at is None or now < self._seen_at:
            with self._database.begin() as session:
                deliveries.forget_clock_ahead(session)
        self._seen_at = now

    def _send_due(self, now: datetime | None = None) -> list[threading.Thread]:
        started: list[threading.Thread] = []
        while not self._stop.is_set():
            under_way = Counter(self._under_way().values())
            most = AT_ONCE_TO_ONE if under_way.total() < MANY else 1
            busy = [webhook for webhook, count in under_way.items() if count >= most]
            began = time.monotonic()
            with self._database.read() as session:
                due = deliveries.is_due(session, without=busy, now=now)
            if not due and not self._fan_out():
                break
            claim = None
            if due:
                with self._database.begin() as session:
                    claim = deliveries.claim(session, without=busy, now=now)
            if claim is None:  # some have been written or given up, or another server was faster
                rest(self._stop, began)
                continue
            thread = threading.Thread(target=self._deliver, args=(claim, now), name=claim.id, daemon=True)
            with self._lock:
                self._sending[thread] = claim.webhook_id
            try:
                thread.start()
            except RuntimeError:  # no more threads: the claim lapses, and it is sent later
                with self._lock:
                    del self._sending[thread]
                raise
            started.append(thread)
        return started

    def _fan_out(self) -> bool:
        """Only when there is nothing to send: what thousands of jobs have said at once is written bit by bit."""
        with self._database.read() as session:
            if not fan_out.is_due(session):
                return False
        with self._database.begin() as session:
            return fan_out.fan_out(session)

    def _under_way(self) -> dict[threading.Thread, str]:
        with self._lock:
            return dict(self._sending)

    def _deliver(self, claim: Claim, now: datetime | None) -> None:
        try:
            status, error = send(claim, self._allowed, self._tls)
            with self._database.begin() as session:
                if error is None:
                    assert status is not None
                    deliveries.succeed(session, claim, status, now)
                else:
                    deliveries.fail(session, claim, error, status, now)
            if status == GONE:
                log.warning("webhook_disabled", webhook=claim.webhook_id, delivery=claim.id)
            elif error is not None and claim.tries > len(DELAYS):
                log.warning("webhook_gave_up", webhook=claim.webhook_id, delivery=claim.id, error=error)
        except Exception as trouble:  # its claim lapses, and it is sent again
            log.warning("webhook_outcome_lost", webhook=claim.webhook_id, delivery=claim.id, error=str(trouble))
        finally:
            with self._lock:
                del self._sending[threading.current_thread()]
            self._wake.set()  # the job's next event may follow now


# -- one try ----------------------------------------------------------------------------------------------


def send(claim: Claim, allowed: Allowed, tls: ssl.SSLContext) -> tuple[int | None, str | None]:
    """The status of the answer, if there was one, and what went wrong, if it did."""
    try:
        status, text = _post(claim, PublicNetwork(allowed, TOTAL_SECONDS), tls)
    except httpcore2.ConnectTimeout:
        return None, f"no connection within {CONNECT_SECONDS:g} seconds"
    except httpcore2.TimeoutException:
        return None, f"no answer within {TOTAL_SECONDS:g} seconds"
    except Exception as error:  # whatever it was: the log of deliveries says it, and it is tried again
        return None, storable.clean(str(error) or type(error).__name__)
    if 200 <= status < 300:
        return status, None
    said = f": {text[:SHOWN_CHARACTERS]}" if text else ""
    where = " (redirects are not followed)" if 300 <= status < 400 else ""
    return status, f"the receiver answered {status}{where}{said}"


def _post(claim: Claim, network: PublicNetwork, tls: ssl.SSLContext) -> tuple[int, str]:
    url = httpx2.URL(claim.url)
    body = message(claim)
    # Below httpx2's client: no redirects, no proxies, no cookies, nothing unpacked, one connection for one request.
    there = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    connection = httpcore2.HTTPConnection(there.origin, ssl_context=tls, network_backend=network)
    headers = {
        "Host": url.netloc.decode(),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "Stillhouse-Webhooks",
        "Accept": "*/*",
        "Connection": "close",
    } | sign(claim.secret, claim.id, int(claim.at.timestamp()), body)
    timeouts = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS}
    with (
        connection,
        connection.stream(
            "POST", there, headers=list(headers.items()), content=body, extensions={"timeout": timeouts}
        ) as answer,
    ):
        return answer.status, _beginning(answer)


def _beginning(answer: httpcore2.Response) -> str:
    """Enough of the answer to see what a receiver complains about; the status has said all that counts."""
    read = b""
    with contextlib.suppress(Exception):
        for part in answer.iter_stream():
            read += part
            if len(read) >= ANSWER_BYTES:
                break
    return storable.clean(read[:ANSWER_BYTES].decode("utf-8", "replace")).strip()


def message(claim: Claim) -> bytes:
    """What is sent. The event never changes; the job's name and labels are those of the moment."""
    return views.webhook_message(claim).model_dump_json().encode()


def sign(secret: str, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which the receiver knows who sent it, and that it is neither old nor another's."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
