"""Spoilt archives, Parquet and safetensors are read or refused in words: a few hundred of them, always the same."""

import pytest

from tests.attack.readers import attack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_nothing_escapes_from_the_readers_of_what_people_bring(tmp_path):
    outcomes, escapes = attack(7, tmp_path, lambda files: files < 600)

    assert escapes == []
    assert {kind for kind, outcome in outcomes if outcome == "refused"} == {kind for kind, _ in outcomes}
    assert {kind for kind, outcome in outcomes if outcome == "taken"} == {kind for kind, _ in outcomes}
