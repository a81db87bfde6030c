"""The trainer's end of its stdin: an order, perhaps a request to stop, and at its end the worker is gone.

Read straight from the descriptor: a buffer would keep the second line from whoever waits for it in another thread.
"""

import os
import signal
import threading

from worker import kin

STOP = b"stop"


class Lifeline:
    def __init__(self, descriptor: int = 0):
        self.stop = threading.Event()  # save, then end
        self._descriptor, self._read = descriptor, b""

    def order(self) -> bytes | None:
        """The first line; None when the worker ended before it had an order for us."""
        return self._line()

    def mind(self) -> None:
        """From now on, in a thread: hear a request to stop, and end with the worker."""
        threading.Thread(target=self._mind, name="lifeline", daemon=True).start()

    def _mind(self) -> None:
        while (line := self._line()) is not None:
            if line.strip() == STOP:
                self.stop.set()
        if mark := os.environ.get(kin.MARK):
            kin.kill(mark)  # those in sessions of their own as well
        os.killpg(0, signal.SIGKILL)

    def _line(self) -> bytes | None:
        while b"\n" not in self._read:
            more = os.read(self._descriptor, 65_536)
            if not more:
                return None
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line
