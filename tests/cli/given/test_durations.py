"""Durations as people write them."""

import pytest
import typer

from cli.given import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("12h", 43_200),
        ("2d", 172_800),
        ("1h30m", 5_400),
        ("1.5H", 5_400),
        ("1h 5s", 3_605),
    ],
)
def test_a_duration_is_numbers_with_their_units(text, seconds):
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "h", "-5m", "5 minutes", "1h30", "infs", "1.h", "1e3s", "9" * 400 + "d", "٣s"]
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(typer.BadParameter, match="90s, 30m, 12h"):
        durations.seconds(text)
