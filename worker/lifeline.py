"""The trainer's end of its stdin: an order, perhaps a request to stop, and at its end the worker is gone.

Minded in a thread from the first moment on: to load torch takes seconds, in which a worker can die. Read straight from
the descriptor, since a buffer that the interpreter closes at its end must not be waited on.
"""

import os
import queue
import signal
import threading
from collections.abc import Iterator

from worker import descendants

STOP = b"stop"


class Lifeline:
    def __init__(self, descriptor: int = 0):
        self.stop = threading.Event()  # save, then end
        self._orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._mind, args=(descriptor,), name="lifeline", daemon=True).start()

    def order(self) -> bytes:
        """The first line, once it is there."""
        return self._orders.get()

    def _mind(self, descriptor: int) -> None:
        lines = _lines(descriptor)
        order = next(lines, None)
        if order is None:
            os._exit(0)  # the worker ended before it had an order for us
        self._orders.put(order)
        for line in lines:
            if line.strip() == STOP:
                self.stop.set()
        if mark := os.environ.get(descendants.MARK):
            descendants.kill(mark)  # those in sessions of their own as well
        os.killpg(0, signal.SIGKILL)


def _lines(descriptor: int) -> Iterator[bytes]:
    rest = b""
    while more := os.read(descriptor, 65_536):
        *whole, rest = (rest + more).split(b"\n")
        yield from whole
