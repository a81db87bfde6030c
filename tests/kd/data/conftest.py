"""Folders of data sets, with and without a network to fill them from."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd.data import packing
from tests.kd.data.publishing import NOWHERE
from tests.kd.data.sixty import NAME, in_chunks


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder that the tests share, so that mnist5k is parsed once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def proxies(monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment, of which downloads take notice anew."""
    urllib.request.install_opener(None)  # the one in use keeps the proxies it was made with
    yield monkeypatch
    urllib.request.install_opener(None)


@pytest.fixture
def offline(proxies) -> None:
    """No download can succeed."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        proxies.setenv(name, "" if name == "no_proxy" else NOWHERE)


@pytest.fixture
def place(tmp_path) -> Path:
    """The folder of a data set that was packed."""
    packing.pack(tmp_path, NAME, in_chunks())
    return tmp_path / NAME
