"""An undisturbed run of each mode, made once for all files that ask for it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kd.run import run
from tests.kd.tiny import STEP_BY_STEP

Undisturbed = tuple[Any, Path, list[Any]]


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def undisturbed(data, tmp_path_factory) -> Callable[[str], Undisturbed]:
    @cache
    def undisturbed(mode: str) -> Undisturbed:
        out = tmp_path_factory.mktemp(mode)
        return STEP_BY_STEP[mode], out, list(run(STEP_BY_STEP[mode], out, data_folder=data))

    return undisturbed


@pytest.fixture(scope="module", params=["train", "guide"])
def whole(request, undisturbed) -> Undisturbed:
    """An undisturbed run: its spec, its folder, everything it said."""
    return undisturbed(request.param)
