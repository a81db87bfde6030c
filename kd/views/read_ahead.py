"""Announced batches, read ahead by a thread."""

import threading
import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from queue import SimpleQueue

import torch
from torch import Tensor

from kd.views.gather import Gather

# How many announced batches are read ahead.
DEPTH = 4

Read = tuple[Tensor, Tensor]  # which images, and their pixels


class ReadAhead:
    """Announced batches, of which a thread keeps the next few ready."""

    def __init__(self, gather: Gather, batches: Iterable[Tensor], device: torch.device):
        self._ready: SimpleQueue[Read | BaseException | None] = SimpleQueue()
        self._next: Read | None = None
        self._ended = False
        self._room, stopped = threading.Semaphore(DEPTH), threading.Event()
        # The thread knows nothing of this object, or the object would never be forgotten.
        thread = threading.Thread(
            target=_read_ahead,
            args=(gather, batches, device, self._ready, self._room, stopped),
            name="read-ahead",
            daemon=True,
        )
        # Also when forgotten without a word, and before the interpreter takes itself apart.
        self._stop = weakref.finalize(self, _stop, thread, self._room, stopped)
        thread.start()

    def take(self, image_B: Tensor) -> Tensor | None:
        """The pixels of these images, if they are what was announced; else None, and the announced ones stay next.

        Raises what stopped the thread, once.
        """
        if self._next is None and not self._ended:
            came = self._ready.get()
            self._ended = not isinstance(came, tuple)
            if isinstance(came, BaseException):
                raise came
            self._next = came
        if self._next is None or not torch.equal(self._next[0], image_B):
            return None
        (_, read_BHWC), self._next = self._next, None
        self._room.release()
        return read_BHWC

    def close(self) -> None:
        self._stop()


def _read_ahead(
    gather: Gather,
    batches: Iterable[Tensor],
    device: torch.device,
    ready: "SimpleQueue[Read | BaseException | None]",
    room: threading.Semaphore,
    stopped: threading.Event,
) -> None:
    try:
        # Pinned memory belongs to the context of a device, and a new thread would begin with that of the first one.
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            for image_B in batches:
                room.acquire()
                if stopped.is_set():
                    return
                ready.put((image_B, gather(image_B, pinned_for=device)))
        ready.put(None)
    except BaseException as error:  # the loop that asks for the images hears of it
        ready.put(error)


def _stop(thread: threading.Thread, room: threading.Semaphore, stopped: threading.Event) -> None:
    stopped.set()
    room.release()
    if thread is not threading.current_thread():  # where garbage happens to be collected
        thread.join(timeout=1)  # a disk that hangs must not hang the exit
