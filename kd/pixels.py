"""Where a split's images are while a model is shown them: on the device, or in a file that is read batch by batch."""

import ctypes
import mmap
import threading
import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kd import memory
from kd.data import Split
from kd.errors import KdError

# How many announced batches are read ahead.
DEPTH = 4
# How many bytes at a time go to the device to stay there.
BLOCK_BYTES = 1 << 24

# PyDLL keeps the GIL: it is not worth giving away 64 times for a microsecond each.
madvise = ctypes.PyDLL(None).madvise
madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

# Shapes: N = images of the split, M = padded images, B = batch, C = channels, H, W = height and width.


class Pixels(Protocol):
    """A split's images, zero padded on each side."""

    padding: int
    shape: tuple[int, int, int]  # channels, height, width, without the padding
    device: torch.device

    def __len__(self) -> int: ...

    def padded(self, image_B: Tensor) -> tuple[Tensor, Tensor]:
        """Padded images, uint8 [M, H+2p, W+2p, C], and which of them each image of the batch is, int64 [B].

        Both on the device. Where `image_B` itself is, does not matter to the answer; on the CPU it is best.
        """

    def expect(self, batches: Iterable[Tensor]) -> None:
        """The batches that will be asked for next, in their order, as int64 [B] on the CPU.

        A hint that makes things faster: whatever is asked for is answered. It replaces the one before. `batches` is
        iterated in another thread.
        """

    def close(self) -> None:
        """Nothing more is read ahead."""


def place(split: Split, padding: int, device: torch.device, budget_bytes: int | None = None) -> Pixels:
    """On the device if they fit the budget there, by default half of what is free; else read from where they are."""
    channels, height, width = split.shape
    limit = min(height, width) // 2
    if padding > limit:
        raise KdError(
            f"augmentation.crop_padding is {padding}, but the images are {height}×{width} pixels: "
            f"it must be at most {limit}, half of the side."
        )
    if budget_bytes is None:
        budget_bytes = memory.free_bytes(device) // 2
    size = len(split) * channels * (height + 2 * padding) * (width + 2 * padding)
    kind = Resident if size <= budget_bytes else Streamed
    return kind(split.source, padding, device, split.rows)


class Resident:
    """All images on the device, padded once."""

    def __init__(self, images: Tensor, padding: int, device: torch.device | str, rows: Tensor | None = None):
        """`images`: uint8 [N, C, H, W]; with `rows`, int64 on the CPU, only those of them."""
        gather = Gather(images, rows)
        self.padding, self.shape, self.device = padding, gather.shape, torch.device(device)
        self._padded_NHWC = _blank(len(gather), self.shape, padding, self.device)
        middle_NHWC = _middle(self._padded_NHWC, padding)
        for first in range(0, len(gather), step := max(1, BLOCK_BYTES // gather.image_bytes)):
            image_B = torch.arange(first, min(first + step, len(gather)))
            middle_NHWC[first : first + step] = gather(image_B).to(self.device)

    def __len__(self) -> int:
        return len(self._padded_NHWC)

    def padded(self, image_B: Tensor) -> tuple[Tensor, Tensor]:
        return self._padded_NHWC, image_B.to(self.device)

    def expect(self, batches: Iterable[Tensor]) -> None:
        pass

    def close(self) -> None:
        pass


class Streamed:
    """Images stay where they are, such as in a mapped file; a thread reads ahead what was announced."""

    def __init__(self, images: Tensor, padding: int, device: torch.device | str, rows: Tensor | None = None):
        """`images`: uint8 [N, C, H, W]; with `rows`, int64 on the CPU, only those of them."""
        self._gather = Gather(images, rows, scattered=True)
        self.padding, self.shape, self.device = padding, self._gather.shape, torch.device(device)
        self._ahead: ReadAhead | None = None

    def __len__(self) -> int:
        return len(self._gather)

    def padded(self, image_B: Tensor) -> tuple[Tensor, Tensor]:
        image_B = image_B.cpu()
        read_BHWC = self._ahead.take(image_B) if self._ahead is not None else None
        if read_BHWC is None:
            read_BHWC = self._gather(image_B, pinned_for=self.device)
        # Pinned memory is not given to the next batch before this copy is over: torch's allocator sees to it.
        batch_BHWC = read_BHWC.to(self.device, non_blocking=True)
        if self.padding:
            padded_BHWC = _blank(len(image_B), self.shape, self.padding, self.device)
            _middle(padded_BHWC, self.padding).copy_(batch_BHWC)
            batch_BHWC = padded_BHWC
        return batch_BHWC.contiguous(), torch.arange(len(image_B), device=self.device)

    def expect(self, batches: Iterable[Tensor]) -> None:
        self.close()
        self._ahead = ReadAhead(self._gather, batches, self.device)

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None


class Gather:
    """Collects the images of a batch on the host, wherever they lie."""

    def __init__(self, images: Tensor, rows: Tensor | None, *, scattered: bool = False):
        """`scattered`: batches of a mapped file, here and there in it."""
        _, channels, height, width = images.shape
        self.shape = channels, height, width
        images_NHWC = images.permute(0, 2, 3, 1)
        # What was packed lies pixel by pixel, other images plane by plane: they are copied as they lie.
        self._by_pixel = images_NHWC.is_contiguous()
        lying = images_NHWC if self._by_pixel else images.contiguous()
        self._bytes_NP = lying.reshape(len(images), -1).numpy()
        self._rows = rows
        self._scattered = scattered and rows is not None
        self._count = len(images) if rows is None else len(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def image_bytes(self) -> int:
        return int(self._bytes_NP.shape[1])

    def __call__(self, image_B: Tensor, pinned_for: torch.device | None = None) -> Tensor:
        """The images as uint8 [B, H, W, C] on the CPU; in pinned memory, if a GPU wants them."""
        if len(image_B):
            first, last = int(image_B.min()), int(image_B.max())
            if first < 0 or last >= self._count:
                raise IndexError(f"images {first} to {last} are asked for, but there are only 0 to {self._count - 1}")
        row_B = image_B if self._rows is None else self._rows[image_B]
        pinned = pinned_for is not None and pinned_for.type == "cuda"
        found_BP = torch.empty(len(image_B), self.image_bytes, dtype=torch.uint8, pin_memory=pinned)
        if self._scattered:
            self._ask_for(row_B)
        # Without the GIL. `clip`, because numpy would copy once more for the sake of an index that is out of bounds.
        np.take(self._bytes_NP, row_B.numpy(), axis=0, out=found_BP.numpy(), mode="clip")
        channels, height, width = self.shape
        if self._by_pixel:
            return found_BP.view(-1, height, width, channels)
        return found_BP.view(-1, channels, height, width).permute(0, 2, 3, 1)

    def _ask_for(self, row_B: Tensor) -> None:
        """Let the kernel read a batch from the disk all at once: not image after image, and not their neighbours too.

        From a cold disk that is twice as fast and reads a sixth; costs 2 µs an image where nothing has to be read.
        """
        first_B = self._bytes_NP.ctypes.data + row_B.numpy() * self.image_bytes
        page_B = first_B & -mmap.PAGESIZE
        for page, length in zip(page_B.tolist(), (first_B + self.image_bytes - page_B).tolist(), strict=True):
            madvise(page, length, mmap.MADV_WILLNEED)


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


def _blank(count: int, shape: tuple[int, int, int], padding: int, device: torch.device) -> Tensor:
    channels, height, width = shape
    return torch.zeros(count, height + 2 * padding, width + 2 * padding, channels, dtype=torch.uint8, device=device)


def _middle(padded_NHWC: Tensor, padding: int) -> Tensor:
    """The images without their padding, as a view."""
    _, height, width, _ = padded_NHWC.shape
    return padded_NHWC[:, padding : height - padding, padding : width - padding]
