"""Where a split's images are while a model is shown them: on the device, or in a file that is read batch by batch."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from kd import liveness
from kd.data.splits import Split
from kd.errors import KdError
from kd.machine import memory
from kd.views.gather import Gather
from kd.views.read_ahead import ReadAhead

# Shapes: N = images of the split, M = padded images, B = batch, C = channels, H, W = height and width.

# How many bytes at a time go to the device to stay there.
BLOCK_BYTES = 1 << 24


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
    size = len(split) * channels * (height + 2 * padding) * (width + 2 * padding)
    kind = Resident if size <= budget(device, budget_bytes) else Streamed
    return kind(split.source, padding, device, split.rows)


def budget(device: torch.device, wanted_bytes: int | None = None) -> int:
    """How many bytes of images may be on the device; without a wish, half of what is free there."""
    return memory.free_bytes(device) // 2 if wanted_bytes is None else wanted_bytes


class Resident:
    """All images on the device, padded once."""

    def __init__(self, images: Tensor, padding: int, device: torch.device | str, rows: Tensor | None = None):
        """`images`: uint8 [N, C, H, W]; with `rows`, int64 on the CPU, only those of them."""
        gather = Gather(images, rows)
        self.padding, self.shape, self.device = padding, gather.shape, torch.device(device)
        self._padded_NHWC = _blank(len(gather), self.shape, padding, self.device)
        middle_NHWC = middle(self._padded_NHWC, padding)
        for first in range(0, len(gather), step := max(1, BLOCK_BYTES // gather.image_bytes)):
            image_B = torch.arange(first, min(first + step, len(gather)))
            middle_NHWC[first : first + step] = gather(image_B).to(self.device)
            liveness.advance()

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
            middle(padded_BHWC, self.padding).copy_(batch_BHWC)
            batch_BHWC = padded_BHWC
        return batch_BHWC.contiguous(), torch.arange(len(image_B), device=self.device)

    def expect(self, batches: Iterable[Tensor]) -> None:
        self.close()
        self._ahead = ReadAhead(self._gather, batches, self.device)

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None


def _blank(count: int, shape: tuple[int, int, int], padding: int, device: torch.device) -> Tensor:
    channels, height, width = shape
    return torch.zeros(count, height + 2 * padding, width + 2 * padding, channels, dtype=torch.uint8, device=device)


def middle(padded_NHWC: Tensor, padding: int) -> Tensor:
    """The images without their padding, as a view."""
    _, height, width, _ = padded_NHWC.shape
    return padded_NHWC[:, padding : height - padding, padding : width - padding]
