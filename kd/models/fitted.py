"""A network that was made for larger images in colour, fed with what there is."""

import torch.nn.functional as F
from torch import Tensor, nn


class Fitted(nn.Module):
    """A network for RGB images of `size`, behind a resize and a gray-to-RGB where they are needed."""

    def __init__(self, network: nn.Module, size: tuple[int, int]):
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        return self.network(x)  # type: ignore[no-any-return]
