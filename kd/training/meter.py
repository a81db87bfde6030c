"""What a training says of its steps: summed up on the device, so that no step waits for the host."""

import torch
from torch import Tensor

from kd.objectives.objective import Parts

# Steps whose numbers are kept as they are before they are added up, all at once: adding them one by one costs a
# small model a tenth of its step.
GATHERED = 64

# Shapes: B = batch, C = classes.


class Meter:
    """Loss, its hard and soft part, hits and images since it was last read."""

    def __init__(self, device: torch.device):
        self._sums_5 = torch.zeros(5, device=device, dtype=torch.float64)
        self._steps: list[tuple[Parts, Tensor, Tensor]] = []

    def add(self, parts: Parts, student_BC: Tensor, labels_B: Tensor) -> None:
        """Note one step."""
        self._steps.append((Parts(*(part.detach() for part in parts)), student_BC.detach(), labels_B))
        if len(self._steps) == GATHERED:
            self._add_up()

    def read(self) -> tuple[int, list[float]]:
        """The images, and the means of loss, hard part, soft part and hits over them; it starts anew.

        Makes the host wait for the device.
        """
        self._add_up()
        *sums, images = self._sums_5.tolist()
        self._sums_5.zero_()
        return int(images), [value / images for value in sums]

    def _add_up(self) -> None:
        if not self._steps:
            return
        parts, students, labels = zip(*self._steps, strict=True)
        self._steps = []
        device = self._sums_5.device
        sizes_S = torch.tensor([len(labels_B) for labels_B in labels], dtype=torch.float64).to(
            device, non_blocking=True
        )
        parts_S3 = torch.stack([torch.stack(column) for column in zip(*parts, strict=True)], dim=1).double()
        hits = (torch.cat(students).argmax(dim=1) == torch.cat(labels)).sum()
        self._sums_5[:3] += sizes_S @ parts_S3
        self._sums_5[3] += hits
        self._sums_5[4] += sizes_S.sum()
