"""Where runs find their data."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")
