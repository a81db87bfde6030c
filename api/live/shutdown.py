"""Know at once that the server is to end: uvicorn tells the app only when every answer has been given."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def at_shutdown(leave: Callable[[], None]) -> Iterator[None]:
    """Call `leave` on the event loop at a signal that ends the server, and then what the server does at that signal.

    Where signals are not the server's to handle (in a thread, in a test) nothing is changed.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(leave)
        before[signal.Signals(number)](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if callable(theirs := signal.getsignal(number)):
                before[number] = theirs
                signal.signal(number, handle)
    try:
        yield
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)
