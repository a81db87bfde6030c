"""Where runs find their data, and how many threads they have."""

from pathlib import Path

import pytest
import torch

from kd.evaluation import cost

# How fast a model is, is the machine's affair, and what runs here is not asked for it.
cost.LATENCY_SECONDS = 0.0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def one_thread():
    """For runs whose weights are compared to the bit, and small ones, which more threads slow down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
