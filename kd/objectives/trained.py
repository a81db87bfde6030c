"""What an objective trains beside the student: it learns with it, is saved for a resume, and is never exported."""

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
    if term.method in ("srd", "fitnet"):
        assert student is not None, "the run measures what the objective reads"
        assert teacher is not None, "of both"
        if term.method == "srd":
            return nn.Linear(student.pooled, teacher.pooled)
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
