"""What an objective trains beside the student: it learns with it, is saved for a resume, and is never exported."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd.models.features import Measures
from kd.models.small import Mean
from kd.spec.objective import READS, Term


def make_part(term: Term, student: Measures | None, teacher: Measures | None) -> nn.Module:
    """What a student's features go through before a term compares them; for most nothing, which has no weights."""
    if READS.get(term.method) == "heads":
        assert student is not None, "the run measures what the objective reads"
        return Heads(student)
    if term.method in ("srd", "fitnet", "reviewkd"):
        assert student is not None, "the run measures what the objective reads"
        assert teacher is not None, "of both"
        if term.method == "srd":
            return nn.Linear(student.pooled, teacher.pooled)
        if term.method == "reviewkd":
            return Review(student, teacher)
        return Regressor(student.stages[term.stage - 1], teacher.stages[term.stage - 1], term.stage)
    return nn.Identity()


class Heads(nn.Module):
    """A classifier on each stage of a student (after Hao et al., 2023): its map goes through as many separable
    convolutions as there are stages to come, to their widths, each of which halves it; then through a linear layer."""

    def __init__(self, student: Measures):
        super().__init__()
        widths = [channels for channels, _, _ in student.stages]
        self.heads = nn.ModuleList(
            nn.Sequential(
                *(
                    _halve(width, further)
                    for width, further in zip(widths[number:], widths[number + 1 :], strict=False)
                ),
                Mean(),
                nn.Linear(widths[-1], student.classes),
            )
            for number in range(len(widths))
        )

    def forward(self, stages: tuple[Tensor, ...]) -> list[Tensor]:
        """The logits of each head, [B, classes]."""
        return [head(map_BCHW) for head, map_BCHW in zip(self.heads, stages, strict=True)]


def _halve(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Regressor(nn.Module):
    """From the map that ends a student's stage (counted from 1) to what the teacher's may be (Romero et al., 2015): a
    convolution to its channels, normalised and activated. A map that is larger than the teacher's is pooled before."""

    def __init__(self, student: tuple[int, int, int], teacher: tuple[int, int, int], stage: int):
        super().__init__()
        self.stage, self.size = stage, (min(student[1], teacher[1]), min(student[2], teacher[2]))
        self.regressor = nn.Sequential(
            nn.Conv2d(student[0], teacher[0], 3, padding=1, bias=False), nn.BatchNorm2d(teacher[0]), nn.ReLU()
        )

    def forward(self, stages: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps as they came, but that of its stage."""
        pooled_BCHW = F.adaptive_avg_pool2d(stages[self.stage - 1], self.size)
        return (*stages[: self.stage - 1], self.regressor(pooled_BCHW), *stages[self.stage :])


WIDEST_MIDDLE = 512
"""How wide what is fused may be, however wide a student ends (the authors' bound)."""


class Review(nn.Module):
    """From the maps that end a student's stages to those that end the teacher's, of their channels and sizes (Chen et
    al., 2021): the deepest first, each is fused with all that are deeper than it."""

    def __init__(self, student: Measures, teacher: Measures):
        super().__init__()
        middle = min(student.stages[-1][0], WIDEST_MIDDLE)
        deepest = len(student.stages) - 1
        self.fusions = nn.ModuleList(
            Fusion(own[0], middle, to, deepest=number == deepest)
            for number, (own, to) in enumerate(zip(student.stages, teacher.stages, strict=True))
        )

    def forward(self, stages: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps that are to be the teacher's, the first stage's first."""
        found: list[Tensor] = []
        deeper_BMHW: Tensor | None = None
        for fusion, map_BCHW in zip(reversed(self.fusions), reversed(stages), strict=True):
            to_BCHW, deeper_BMHW = fusion(map_BCHW, deeper_BMHW)
            found.append(to_BCHW)
        return tuple(reversed(found))


class Fusion(nn.Module):
    """A stage's map, in a middle width M, and what the deeper stage has fused, each weighed at each place by a learned
    attention; of their sum a convolution makes what the teacher's map may be (Chen et al., 2021)."""

    def __init__(self, inputs: int, middle: int, teacher: tuple[int, int, int], *, deepest: bool):
        """`teacher` is its map's channels, height and width. The deepest stage has nothing to be fused with."""
        super().__init__()
        channels, self.size = teacher[0], teacher[1:]
        self.narrow = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.attention = None if deepest else nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid())
        self.widen = nn.Sequential(nn.Conv2d(middle, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, map_BCHW: Tensor, deeper_BMHW: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is compared with the teacher's map, of its size; and what was fused, [B, M, H, W] of the student's."""
        fused_BMHW = self.narrow(map_BCHW)
        if self.attention is not None:
            assert deeper_BMHW is not None, "only the deepest stage has none"
            deeper_BMHW = _resize(deeper_BMHW, (fused_BMHW.shape[2], fused_BMHW.shape[3]))
            own_B1HW, other_B1HW = self.attention(torch.cat([fused_BMHW, deeper_BMHW], 1)).split(1, dim=1)
            fused_BMHW = own_B1HW * fused_BMHW + other_B1HW * deeper_BMHW
        return self.widen(_resize(fused_BMHW, self.size)), fused_BMHW


def _resize(map_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Pooled where it is larger, its pixels repeated where it is smaller."""
    height, width = map_BCHW.shape[2:]
    pooled_BCHW = F.adaptive_avg_pool2d(map_BCHW, (min(height, size[0]), min(width, size[1])))
    return F.interpolate(pooled_BCHW, size)
