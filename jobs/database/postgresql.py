"""Connections to PostgreSQL with deadlines on our side.

A server that was stopped, or lost behind a proxy, says nothing, and no timeout of its own ends that. Nor does
TCP's: its machine, or the proxy, goes on acknowledging what we send.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """A connection that is closed once the server owes an answer and has said nothing for `patience()` seconds."""

    patience: Callable[[], float | None]
    """None: for as long as it takes."""

    def wait(self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """All that is ever asked of the server, the ends of transactions included, waits here."""
        try:
            return super().wait(self._with_deadline(gen), *args, **named)
        except OSError as error:  # to wait takes a file, and this process may have no more of them
            self.close()
            raise psycopg.OperationalError(f"the server cannot be listened to: {error.strerror}") from error

    def _with_deadline(self, gen: PQGen[T]) -> PQGen[T]:
        patience, heard = self.patience(), time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted  # every tenth of a second, with nothing
                if ready:
                    heard = time.monotonic()
                elif patience is not None and time.monotonic() - heard > patience:
                    self.close()  # what comes later would be taken for the answer to another question
                    raise psycopg.OperationalError(f"the server has said nothing for {patience:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


class Breaker:
    """Once a connection could not be made, one caller at a time tries again, and the others are told so at once:
    where each waits for the deadline, whoever comes last waits for them all."""

    def __init__(self) -> None:
        self._is_open = False
        self._trying = threading.Lock()

    def connect(self, connect: Callable[[], T]) -> T:
        was_open = self._is_open
        if was_open and not self._trying.acquire(blocking=False):
            raise psycopg.OperationalError("no connection could be made a moment ago; another thread tries again")
        try:
            connection = connect()
            self._is_open = False
        except psycopg.OperationalError:
            self._is_open = True
            raise
        except OSError as error:  # ours, and not the server's: whoever comes next may have the file that it takes
            raise psycopg.OperationalError(f"no connection can be made: {error.strerror}") from error
        finally:
            if was_open:
                self._trying.release()
        return connection
