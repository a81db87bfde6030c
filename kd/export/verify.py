"""Hold an exported file against the student that it was made of, on images that neither has learnt from."""

import math
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd.errors import ExportUnfit
from kd.evaluation.predict import SMALLEST_BATCH, evaluating
from kd.models.onnx.network import SMALLEST
from kd.models.onnx.session import Session
from kd.models.safetensors.facts import Facts
from kd.training.run import Shown

# Shapes: B = batch, C = classes.

TURNS = 1_000
"""Of so many images a file that computes as the student does may answer one otherwise: rounding turns a draw."""
BATCHES = (1, 64)
FEWEST, MOST, SECONDS = 5, 200, 0.5
"""Answers of which the median time is taken: so many, and for about so long."""
PATIENCE_SECONDS = 30.0
"""Of a batch that would take longer to measure, nothing is measured."""


class Comparison:
    """What both have said so far: how good they are, how far they agree, by how much they differ at most."""

    def __init__(self) -> None:
        self.images = self._student_hits = self._hits = self._agreed = 0
        self._furthest = self._furthest_of_likeliest = 0.0

    def add(self, student_BC: Tensor, file_BC: Tensor, labels_B: Tensor) -> None:
        """Log-probabilities of a few more images. Raises `ExportUnfit` where the file's are no answer."""
        if file_BC.shape != student_BC.shape:
            raise ExportUnfit(f"it answers with {tuple(file_BC.shape)}, and the student with {tuple(student_BC.shape)}")
        if not torch.isfinite(file_BC).all():
            raise ExportUnfit("what it says of test images are no finite numbers")
        top_B, said_B = student_BC.argmax(dim=1), file_BC.argmax(dim=1)
        self.images += len(labels_B)
        self._student_hits += int((top_B == labels_B).sum())
        self._hits += int((said_B == labels_B).sum())
        self._agreed += int((top_B == said_B).sum())
        apart_BC = (student_BC.exp() - file_BC.exp()).abs()
        of_likeliest_B1 = (student_BC - file_BC).gather(1, top_B[:, None]).abs()
        self._furthest = max(self._furthest, apart_BC.max().item())
        self._furthest_of_likeliest = max(self._furthest_of_likeliest, of_likeliest_B1.max().item())

    def told(self) -> dict[str, Any]:
        """Plain values. Of what is all but impossible the logarithm differs by rounding alone, so it is told of the
        likeliest class only."""
        return {
            "images": self.images,
            "student_top1": self._student_hits / self.images,
            "top1": self._hits / self.images,
            "agreement": self._agreed / self.images,
            "largest_difference": {
                "probability": self._furthest,
                "log_probability_of_the_likeliest": self._furthest_of_likeliest,
            },
        }

    def judge(self, *, loses_at_most: float) -> None:
        """Raise `ExportUnfit` for a file that is not to be handed out."""
        if (self._student_hits - self._hits) / self.images > loses_at_most:
            raise ExportUnfit(
                f"on {self.images:,} test images it is right on {self._hits / self.images:.2%}, and the student on "
                f"{self._student_hits / self.images:.2%}: it loses more than {loses_at_most:.2%}"
            )
        if (turned := self.images - self._agreed) > math.ceil(self.images / TURNS):
            raise ExportUnfit(
                f"it says something else than the student of {turned:,} of {self.images:,} test images: it does not "
                "compute what that does"
            )


def compare(
    model: nn.Module, facts: Facts, session: Session, test: Shown, *, preprocessing: bool
) -> Iterator[Comparison]:
    """Both on all test images, a few at a time; what was found so far. Raises `ExportUnfit`."""
    found, at_once = Comparison(), session.open().batch or SMALLEST_BATCH
    batches = torch.split(torch.arange(len(test)), at_once)
    test.viewer.pixels.expect(iter(batches))
    for image_B in batches:
        bytes_BCHW = test.viewer.bytes_of(image_B).permute(0, 3, 1, 2).contiguous()
        pixels_BCHW = as_seen(bytes_BCHW, facts)
        with evaluating(model), torch.inference_mode():
            logits_BC = model(pixels_BCHW)
        given_BCHW = bytes_BCHW if preprocessing else pixels_BCHW
        said_BC = torch.from_numpy(session.answer(given_BCHW.numpy()).copy())
        file_BC = said_BC.clamp_min(SMALLEST).log() if preprocessing else said_BC.log_softmax(dim=1)
        student_BC = logits_BC.clone().log_softmax(dim=1).clamp_min(math.log(SMALLEST))
        found.add(student_BC, file_BC, test.labels_N[image_B])
        yield found


def as_seen(bytes_BCHW: Tensor, facts: Facts) -> Tensor:
    """Pixels as the student sees them, float32."""
    mean_C11, std_C11 = (torch.tensor(numbers)[:, None, None] for numbers in (facts.mean, facts.std))
    return (bytes_BCHW.float() / 255 - mean_C11) / std_C11


def latencies(
    model: nn.Module, facts: Facts, session: Session, *, preprocessing: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """Median seconds of an answer, of the student in torch and of the file in onnxruntime, in turn and with as many
    threads, by the size of a batch."""
    an_image = 0.0
    for batch in BATCHES if session.open().batch is None else (session.open().batch,):
        assert batch is not None
        if an_image * batch * FEWEST > PATIENCE_SECONDS:
            return
        bytes_BCHW = torch.randint(0, 256, (batch, *facts.shape), dtype=torch.uint8)
        pixels_BCHW = as_seen(bytes_BCHW, facts)
        given = (bytes_BCHW if preprocessing else pixels_BCHW).numpy()
        student, file = _in_turn(
            lambda: _timed(model, pixels_BCHW),  # noqa: B023
            lambda: _timed_answer(session, given),  # noqa: B023
        )
        an_image = (student + file) / batch
        yield f"batch{batch}", {"student": student, "file": file}


def _in_turn(*measure: Callable[[], float]) -> list[float]:
    for each in measure:  # the first ones also allocate
        each()
    times: list[list[float]] = [[] for _ in measure]
    until = time.monotonic() + SECONDS
    while len(times[0]) < FEWEST or (time.monotonic() < until and len(times[0]) < MOST):
        for taken, each in zip(times, measure, strict=True):
            taken.append(each())
    return [median(taken) for taken in times]


def _timed(model: nn.Module, pixels_BCHW: Tensor) -> float:
    with evaluating(model), torch.inference_mode():
        began = time.perf_counter()
        model(pixels_BCHW)
        return time.perf_counter() - began


def _timed_answer(session: Session, given: NDArray[Any]) -> float:
    session.answer(given)
    return session.took_seconds
