"""For how long and how often a server is asked that does not answer: time for a restart, and no more."""

import time
from collections.abc import Callable
from typing import TypeVar

from client.errors import ClientError, Unreachable

T = TypeVar("T")

# For how long those who wait bear a server that does not answer: time for a restart.
PATIENCE_SECONDS = 60.0
# Between two tries meanwhile.
PAUSE_SECONDS = 0.5
# Before a request that makes a job is sent again, with the same key, because its answer was lost.
RETRY_PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
# The longest that a server is asked to hold its answer back: proxies give up on a silent connection after a minute.
LONG_POLL_SECONDS = 30
# A stream of events that is silent for so long is dead: servers say something every few seconds.
SILENCE_SECONDS = 60.0


def ask_patiently(ask: Callable[[], T], *, until: float | None = None) -> T:
    """Ask until there is an answer, for as long as a restart may take, and not beyond `until`."""
    give_up: float | None = None
    while True:
        try:
            return ask()
        except ClientError as error:
            now = time.monotonic()
            if give_up is None:
                give_up = now + PATIENCE_SECONDS if until is None else min(now + PATIENCE_SECONDS, until)
            if not error.passing or now >= give_up:
                raise
            time.sleep(min(PAUSE_SECONDS, give_up - now))


def resend_if_lost(send: Callable[[], T]) -> T:
    """Send; where nobody knows whether the server has heard us, send the same again, a few times."""
    began, pauses, sent = time.monotonic(), iter(RETRY_PAUSES_SECONDS), False
    while True:
        try:
            return send()
        except ClientError as error:
            sent = sent or not isinstance(error, Unreachable) or error.sent
            pause = next(pauses, None)
            in_vain = pause is None or time.monotonic() - began > PATIENCE_SECONDS
            # Nobody there at the first try is no lost answer: say so at once.
            if in_vain or not error.passing or not sent:
                raise
            time.sleep(pause or 0)


def sleep_until(moment: float) -> None:
    """Until this time of the monotonic clock; not at all if it has passed."""
    time.sleep(max(moment - time.monotonic(), 0.0))
