"""What a model learns from, batch by batch: views, labels, and what the teacher says of the very same views.

Views are cut and labels are looked up for many batches at once, because for small models and small images a batch
of its own costs more to prepare than to learn from.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kd import liveness
from kd.objectives.objective import Answer
from kd.parallel.team import Team
from kd.spec import least_images
from kd.training.guidance import Guidance
from kd.training.run import Shown
from kd.views.mixup import Mix
from kd.views.viewer import Viewer

# Numbers prepared at once: 16 MB of floats.
BLOCK = 1 << 22

# Shapes: N = images of the epoch in their order, K = of a block, B = of a batch, P = a view's integers, C = classes.
# Where views are shown in pairs, B counts views, weak and strong in turn.


class Batch(NamedTuple):
    """One batch, on the device. In a team, our share of it, and `weight` makes the mean over us the batch's mean."""

    pixels_BCHW: Tensor
    labels_B: Tensor
    mix: Mix | None
    """What is mixed in: its labels [B] and the share [B] that is the image's own."""
    answer: Answer | None
    """What the teacher says of these very views."""
    weight: float
    at_once: int = 1
    """How many views of an image follow one another."""

    def pieces(self, count: int) -> Iterator["Batch"]:
        """The batch in so many parts, whose sizes differ by one at most: weighted, their losses sum up to its own."""
        images = len(self.labels_B) // self.at_once
        for number in range(count):
            part = slice(number * images // count, (number + 1) * images // count)
            yield self if count == 1 else self.part(part, self.weight * (part.stop - part.start) / images)
            liveness.advance()  # who asks for the next one has learnt from this one

    def part(self, which: slice, weight: float) -> "Batch":
        """These images of the batch, with a weight of their own."""
        which = slice(which.start * self.at_once, which.stop * self.at_once)
        return Batch(
            self.pixels_BCHW[which],
            self.labels_B[which],
            None if self.mix is None else Mix(*(column_B[which] for column_B in self.mix)),
            None if self.answer is None else self.answer.part(which),
            weight,
            self.at_once,
        )


def count_batches(count: int, batch_size: int, team: Team, pieces: int = 1) -> int:
    """The batches of an epoch: as few as `batch_size` allows, and each of two images at least for every process and
    each of its pieces, since batch normalisation has no variance of one."""
    return max(1, min(math.ceil(count / batch_size), count // least_images(team.size, pieces)))


def cut_evenly(order_N: Tensor, batch_size: int, team: Team, pieces: int = 1) -> tuple[Tensor, ...]:
    """An epoch's images in batches whose sizes differ by one at most.

    Not in full ones and a rest: of two or three images batch normalisation takes statistics that are nothing like the
    data's, and the step along their gradient can undo a whole epoch.
    """
    return torch.tensor_split(order_N, count_batches(len(order_N), batch_size, team, pieces))


def cut_batches(
    split: Shown,
    viewer: Viewer,
    order_N: Tensor,
    view: int,
    batch_size: int,
    *,
    pieces: int = 1,
    first: int = 0,
    team: Team = Team(),  # immutable
    guidance: Guidance | None = None,
    epoch: int = 0,
) -> Iterator[Batch]:
    """The batches from number `first` on of one pass over the images in this order (int64, on the CPU), each shown
    in its view number `view`, or in both of that pair, with what the guidance says of it in this epoch. Each has enough
    images for so many `pieces`."""
    device, at_once = viewer.device, viewer.plan.at_once
    view_V = at_once * view + torch.arange(at_once, device=device)
    batches = cut_evenly(order_N, batch_size, team, pieces)[first:]
    shares = [team.share(batch_B) for batch_B in batches]
    blocks = list(in_blocks(shares, viewer, at_once))
    viewer.pixels.expect(torch.cat(block) for block in blocks)
    whole_sizes = iter([len(batch_B) for batch_B in batches])
    for block in blocks:
        image_K = torch.cat(block)
        there_K = image_K.to(device, non_blocking=True).repeat_interleave(at_once)
        # By the view's own numbers, which are also those that were labelled: student and teacher see the same pixels.
        view_KP = viewer.parameters(there_K, view_V.repeat(len(image_K)))
        pixels_KCHW = viewer.replay(image_K, view_KP)
        labels_K, mix_K = split.labels_N[there_K], viewer.mix(view_KP)
        if mix_K is not None:
            mix_K = Mix(split.labels_N[mix_K.partner_B], mix_K.share_B)
        answer_K = None if guidance is None else guidance.answer(image_K, epoch)
        prepared, start = Batch(pixels_KCHW, labels_K, mix_K, answer_K, 1, at_once), 0
        for share_B in block:
            part = slice(start, start + len(share_B))
            yield prepared.part(part, len(share_B) * team.size / next(whole_sizes))
            start = part.stop


def in_blocks(batches: list[Tensor], viewer: Viewer, at_once: int = 1) -> Iterator[list[Tensor]]:
    """The batches, as many at a time as should be prepared at once, with so many views of each image."""
    size = max(1, BLOCK // (len(batches[0]) * at_once * math.prod(viewer.shape))) if batches else 1
    for start in range(0, len(batches), size):
        yield batches[start : start + size]
