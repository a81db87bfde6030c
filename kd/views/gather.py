"""Images of a batch, collected on the host wherever they lie."""

import ctypes
import mmap

import numpy as np
import torch
from torch import Tensor

# Shapes: N = images of the split, B = batch, P = bytes of an image, C = channels, H, W = height and width.

# PyDLL keeps the GIL: it is not worth giving away 64 times for a microsecond each.
madvise = ctypes.PyDLL(None).madvise
madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


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
