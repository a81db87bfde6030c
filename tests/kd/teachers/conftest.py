"""Weights that somebody brings, and short runs under them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from kd.events import Event
from kd.models.weights import load_model
from kd.run import run
from kd.spec import parse
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.kd.tiny import OF_MODE, SHORT

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> tuple[Path, list[Event]]:
    """A run that trains a `cnn_small` as its teacher: its folder, and what it said."""
    out = tmp_path_factory.mktemp("trained")
    spec = parse({"mode": "train", "config": {**SHORT, "teacher": {"arch": "cnn_small", "epochs": 2}, "views": 2}})
    return out, list(run(spec, out, data_folder=data, label_folder=out / "labels"))


@pytest.fixture(scope="module")
def weights(trained) -> State:
    """That teacher's, as anybody would save them."""
    return load_model(trained[0] / "teacher.safetensors")[0].state_dict()


@pytest.fixture
def bring(tmp_path) -> Callable[..., str]:
    """Brings weights; their id."""

    def bring(state: State, architecture: str = "cnn_small", **said: Any) -> str:
        content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
        said = Said(name="mine", architecture=architecture, **said)
        return uploads.add(tmp_path / "teachers", io.BytesIO(content), said)[0].id

    return bring


@pytest.fixture
def teach(tmp_path, data) -> Callable[..., list[Event]]:
    """All that a short run under this teacher says."""

    def teach(teacher_id: str, mode: str = "train", *, labels: Path | None = None, **changes: object) -> list[Event]:
        spec = parse({"mode": mode, "config": SHORT | OF_MODE[mode] | {"teacher": {"upload": teacher_id}} | changes})
        files = [(uploads.manifest(tmp_path / "teachers", teacher_id), None)]
        return list(run(spec, tmp_path / mode, data_folder=data, label_folder=labels, teacher_files=files))

    return teach
