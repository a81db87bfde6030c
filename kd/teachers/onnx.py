"""Take a teacher that was brought as ONNX: look at it, fit it to the images, see that it answers."""

from typing import Literal

import torch
from torch import Tensor

from kd.errors import GraphUnfit, TeacherUnfit
from kd.models.catalog import ONNX
from kd.models.onnx.network import state_of
from kd.models.onnx.said import Graph, Settings
from kd.models.onnx.session import Session
from kd.models.preprocess.said import Preprocess
from kd.models.weights import State
from kd.teachers import uploads
from kd.teachers.fitness import order_of
from kd.teachers.uploads import Said, Uploaded
from kd.training.run import Run

PROBED = 64
"""Images by which one sees what a model gives."""

NEARLY = 1e-3


def take(run: Run, found: Uploaded) -> tuple[State, str]:
    """The teacher behind `run.teacher_file` as weights of an `onnx` network, and in a clause what it is. Raises
    `TeacherUnfit`."""
    assert run.teacher_file is not None, "run() asks for it"
    try:
        content = uploads.content(run.teacher_file, found)
        session = Session(content, threads=torch.get_num_threads())
        try:
            settings = fit(run, found.said, session.open())
        finally:
            session.close()
        settings = settings.model_copy(update={"gives": kind_of_answers(run, state_of(content, settings))})
        return state_of(content, settings), described(settings)
    except (GraphUnfit, uploads.NoSuchTeacher) as error:
        raise TeacherUnfit(error.why, run.teacher_role) from error


def fit(run: Run, said: Said, graph: Graph) -> Settings:
    """How this run's images become what the model wants to see. Raises `TeacherUnfit`."""
    name, (channels, height, width) = run.dataset.name, run.shape

    def refuse(why: str) -> TeacherUnfit:
        return TeacherUnfit(why, run.teacher_role)

    if channels not in (1, graph.channels):
        raise refuse(f"it sees images of {graph.channels} channels, those of {name} have {channels}")
    if why := uploads.why_unclear(said, graph):
        raise refuse(why)
    preprocess = said.preprocess or Preprocess(scale=1)
    return Settings(
        graph=graph,
        preprocess=preprocess,
        size=graph.size or preprocess.size or (height, width),
        given_mean=run.dataset.mean,
        given_std=run.dataset.std,
        order=order_of(said.classes, run) if said.classes is not None else None,
    )


def kind_of_answers(run: Run, state: State) -> Literal["logits", "probabilities"]:
    """What its numbers are, seen on some images. Raises `TeacherUnfit`."""
    network, viewer = run.build(ONNX, "teacher", state).eval(), run.validation.viewer
    image_B = torch.arange(min(PROBED, len(run.validation)))
    viewer.pixels.expect(iter([image_B]))
    pixels_BCHW = viewer.plain(image_B)
    once_BC, twice_BC = network(pixels_BCHW), network(pixels_BCHW)
    if not torch.isfinite(once_BC).all():
        raise TeacherUnfit("what it says of the validation images are no finite numbers", run.teacher_role)
    if not torch.allclose(once_BC, twice_BC, rtol=NEARLY, atol=NEARLY):
        raise TeacherUnfit("it says something else of the same images each time", run.teacher_role)
    return "probabilities" if are_probabilities(once_BC) else "logits"


def described(settings: Settings) -> str:
    """In a clause: how large it is, what it sees, what it gives."""
    size = "×".join(map(str, settings.size))
    turned = ", which gives probabilities, of which the logarithms are taken" * (settings.gives == "probabilities")
    return f"an ONNX model of {settings.graph.parameters:,} parameters that sees images of {size} pixels{turned}"


def are_probabilities(answers_BC: Tensor) -> bool:
    """Whether each row is a distribution. (Logits that are one by chance, of every image, there are not.)"""
    sums = answers_BC.sum(dim=1)
    return bool((answers_BC >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=NEARLY))
