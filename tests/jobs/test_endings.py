"""How jobs end: what is stored of it, what is shown, and that programs are told every code there is."""

import re
from pathlib import Path

import pytest

from jobs import endings
from jobs.endings import Code, Ending

API = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_code_is_documented_and_every_documented_code_exists():
    (codes,) = re.findall(r"^- `error` holds .*? Codes:(.*?)\. `suggested_patch`", API.read_text(), re.M | re.S)

    assert sorted(re.findall(r"`(\w+)`", codes)) == sorted(Code)


def test_an_ending_is_read_as_it_was_stored():
    plain = Ending(Code.KILLED, "It was killed.", "Look who did it.")
    patched = Ending(Code.DIVERGED, "m", "h", retryable=False, patch={"config": {"optimizer": {"lr": 0.01}}})

    assert [Ending.read(ending.stored()) for ending in (plain, patched)] == [plain, patched]
    assert plain.stored() == {
        "code": "killed",
        "message": "It was killed.",
        "hint": "Look who did it.",
        "retryable": True,
    }
    assert patched.stored()["suggested_patch"] == patched.patch


def test_a_code_that_does_not_exist_cannot_be_stored():
    with pytest.raises(ValueError, match="divergd"):
        Ending.read({"code": "divergd", "message": "m", "hint": "h", "retryable": False})


def test_what_another_version_has_stored_is_shown_all_the_same():
    stored = {"code": "of_a_later_version", "message": "m"}

    assert endings.shown(stored) == stored | {"hint": None, "retryable": False, "suggested_patch": None}
