"""Numbers as people read them."""

from datetime import UTC, datetime

import pytest

from cli.shown import numbers

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "age"),
    [("2026-01-01T11:59:30Z", "30 s"), ("2026-01-01T11:18:00Z", "42 min"), ("2026-01-01T09:00:00Z", "3 h"),
     ("2025-12-25T12:00:00Z", "7 d"), ("2026-01-01T12:00:05Z", "0 s"), (None, "–")],
)  # fmt: skip
def test_a_time_is_an_age_in_its_largest_unit(moment, age):
    assert numbers.age(moment, NOON) == age


def test_sizes_durations_and_differences_carry_their_unit():
    assert [numbers.size(size) for size in (12, 19_712, 1_234_567, 5e9)] == ["12 B", "19.7 kB", "1.23 MB", "5 GB"]
    assert [numbers.clock(seconds) for seconds in (0.4, 75, 3_725)] == ["0:00", "1:15", "1:02:05"]
    assert numbers.per_cent(0.98765) == "98.77 %"
    assert numbers.points(-0.0123) == "-1.23 points"
    assert numbers.count(135_674) == "135,674"


@pytest.mark.parametrize("say", [numbers.per_cent, numbers.points, numbers.count, numbers.size, numbers.clock])
@pytest.mark.parametrize("number", [None, "NaN", "Infinity", float("inf")])
def test_what_is_not_a_number_is_a_dash(say, number):
    assert say(number) == "–"
