"""What a signal handler may do, which is next to nothing.

It runs amid whatever the main thread does, which may hold the very lock that `Event.set` takes: it would wait for
itself. A `SimpleQueue` may be put into at any moment, and needs no new thread, of which there may be none.
"""

import os
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog
from sqlalchemy.exc import TimeoutError

from jobs.database.engine import Sessions

log = structlog.get_logger()


def trigger_for(act: Callable[[], object], *, again: bool = False) -> Callable[[], None]:
    """What a signal handler may call to have this done, in a thread that waits for it: the first time, or each time."""
    signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        signals.get()
        act()
        while again:
            signals.get()
            act()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return lambda: signals.put(None)


def suspend_between_writes(db: Sessions) -> None:
    """From now on Ctrl-Z at its terminal (SIGTSTP) stops this process when it is not writing to the database. In the
    middle of a write it would hold SQLite's lock, and every other process of the deployment would wait for it to go on.

    Only in the main thread. (Nobody can do the same about SIGSTOP.)
    """

    def suspend() -> None:
        log.warning("suspending", pid=os.getpid())  # before: a terminal may hold up who writes to it
        while True:
            try:
                with db.no_writes():
                    os.kill(os.getpid(), signal.SIGSTOP)
                return
            except TimeoutError:  # a write takes its time
                continue

    ask = trigger_for(suspend, again=True)

    def hear(signum: int, frame: FrameType | None) -> None:
        ask()

    signal.signal(signal.SIGTSTP, hear)
