"""Hold an exported file against the student that it was made of, on images that neither has learnt from."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd.errors import ExportUnfit
from kd.evaluation.predict import SMALLEST_BATCH, evaluating
from kd.evaluation.scores import agreement
from kd.models.onnx.network import SMALLEST
from kd.models.onnx.session import Session
from kd.models.safetensors.facts import Facts
from kd.training.run import Shown

# Shapes: N = images, B = batch, C = classes.

AGREES = 0.999
"""Of a file that computes as the student does: rounding may turn a draw now and then, and nothing else may."""
BATCHES = (1, 64)
FEWEST, MOST, SECONDS = 5, 200, 0.5
"""Answers of which the median time is taken: so many, and for about so long."""


@dataclass(frozen=True)
class Answers:
    """What both say of the same images: log-probabilities, float32 [N, C]."""

    student_NC: Tensor
    file_NC: Tensor


def ask(model: nn.Module, facts: Facts, session: Session, test: Shown, *, preprocessing: bool) -> Iterator[Answers]:
    """Both, a few images at a time. Raises `ExportUnfit` where the file's answers are none."""
    at_once = session.open().batch or SMALLEST_BATCH
    for image_B in torch.split(torch.arange(len(test)), at_once):
        test.viewer.pixels.expect(iter([image_B]))
        bytes_BCHW = test.viewer.bytes_of(image_B).permute(0, 3, 1, 2)
        with evaluating(model), torch.inference_mode():
            logits_BC = model(normalised(bytes_BCHW, facts))
        shown = bytes_BCHW if preprocessing else normalised(bytes_BCHW, facts)
        missing = at_once - len(image_B) if session.open().batch else 0
        said_BC = _answer(session, np.pad(shown.numpy(), ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge"))
        said_BC = said_BC[: len(image_B)]
        if said_BC.shape != logits_BC.shape:
            raise ExportUnfit(f"it answers with {tuple(said_BC.shape)}, and the student with {tuple(logits_BC.shape)}")
        file_BC = said_BC.clamp_min(SMALLEST).log() if preprocessing else said_BC.log_softmax(dim=1)
        if not torch.isfinite(file_BC).all():
            raise ExportUnfit("what it says of test images are no finite numbers")
        yield Answers(logits_BC.clone().log_softmax(dim=1).clamp_min(float(np.log(SMALLEST))), file_BC)


def normalised(bytes_BCHW: Tensor, facts: Facts) -> Tensor:
    """As the student sees it."""
    mean_C11, std_C11 = (torch.tensor(numbers)[:, None, None] for numbers in (facts.mean, facts.std))
    return (bytes_BCHW.float() / 255 - mean_C11) / std_C11


def compare(answers: Answers, labels_N: Tensor) -> dict[str, Any]:
    """How good both are, how far they agree, and by how much their log-probabilities differ at most, of all and of what
    either thinks the likeliest: of what is all but impossible the logarithm differs by rounding alone."""
    student_NC, file_NC = answers.student_NC, answers.file_NC
    top_N1 = student_NC.argmax(dim=1, keepdim=True)
    return {
        "images": len(labels_N),
        "student_top1": (student_NC.argmax(dim=1) == labels_N).double().mean().item(),
        "top1": (file_NC.argmax(dim=1) == labels_N).double().mean().item(),
        "agreement": agreement(student_NC, file_NC),
        "largest_difference": {
            "probability": (student_NC.exp() - file_NC.exp()).abs().max().item(),
            "log_probability_of_the_likeliest": (student_NC - file_NC).gather(1, top_N1).abs().max().item(),
        },
    }


def judge(found: dict[str, Any], *, loses_at_most: float, exact: bool) -> None:
    """Raise `ExportUnfit` for a file that is not to be handed out. One that is `exact` computes as the student does."""
    lost = found["student_top1"] - found["top1"]
    if lost > loses_at_most:
        raise ExportUnfit(
            f"on {found['images']} test images it is right on {found['top1']:.2%}, and the student on "
            f"{found['student_top1']:.2%}: it loses more than {loses_at_most:.2%}"
        )
    if exact and found["agreement"] < AGREES:
        raise ExportUnfit(
            f"it says the same as the student of {found['agreement']:.2%} of {found['images']} test images only, and "
            "should of all: it computes something else"
        )


def latencies(model: nn.Module, facts: Facts, session: Session, *, preprocessing: bool) -> dict[str, Any]:
    """Median seconds of an answer, of the student in torch and of the file in onnxruntime, in turn and with as many
    threads, by the size of a batch."""
    fixed, found = session.open().batch, {}
    for batch in BATCHES if fixed is None else (fixed,):
        bytes_BCHW = torch.randint(0, 256, (batch, *facts.shape), dtype=torch.uint8)
        pixels_BCHW = normalised(bytes_BCHW, facts).contiguous(memory_format=torch.channels_last)
        given = (bytes_BCHW if preprocessing else pixels_BCHW.contiguous()).numpy()
        times = _in_turn(lambda: _timed(model, pixels_BCHW), lambda: _timed_answer(session, given))  # noqa: B023
        found[f"batch{batch}"] = dict(zip(("student", "file"), times, strict=True))
    return found


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


def _answer(session: Session, given: NDArray[Any]) -> Tensor:
    return torch.from_numpy(session.answer(given).copy())
