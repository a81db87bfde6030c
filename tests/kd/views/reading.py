"""What is read of some images, what it should be, and the threads that read ahead."""

import threading

import torch.nn.functional as F
from torch import Tensor

from kd.views.pixels import Pixels
from tests.kd.views.noise import some_images


def shown(kept: Pixels, image_B: Tensor) -> Tensor:
    padded_MHWC, index_B = kept.padded(image_B)
    return padded_MHWC[index_B]


def wanted(image_B: Tensor, padding: int = 2) -> Tensor:
    return F.pad(some_images()[image_B], [padding] * 4).permute(0, 2, 3, 1)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
