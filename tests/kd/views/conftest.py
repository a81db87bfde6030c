"""Images that are read as they are asked for."""

from collections.abc import Iterator

import pytest
import torch

from kd.views.pixels import Streamed
from tests.kd.views.noise import some_images


@pytest.fixture
def streamed() -> Iterator[Streamed]:
    streamed = Streamed(some_images(), 2, torch.device("cpu"))
    yield streamed
    streamed.close()
