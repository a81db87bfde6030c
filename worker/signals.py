"""What a signal handler may do, which is next to nothing.

It runs amid whatever the main thread does, which may hold the very lock that `Event.set` takes: it would wait for
itself. A `SimpleQueue` may be put into at any moment, and needs no new thread, of which there may be none.
"""

import queue
import threading
from collections.abc import Callable


def trigger_for(act: Callable[[], object]) -> Callable[[], None]:
    """What a signal handler may call to have this done, in a thread that waits for it."""
    signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        signals.get()
        act()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return lambda: signals.put(None)
