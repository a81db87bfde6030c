"""A package of one's own, installed for the length of a test."""

import sys

import pytest

from tests.support.models.installed import install


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package for the test's length."""

    def add(models, *code, **package):
        folder = install(tmp_path / package.get("package", "site"), models, *code, **package)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, package.get("package", "tiny-models").replace("-", "_"), raising=False)

    return add
