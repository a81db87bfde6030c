"""Durations as people write them: `90s`, `30m`, `12h`, `2d`, `1h30m`."""

import re

import typer

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?[smhd])+")


def seconds(text: str) -> float:
    """What the text says, in seconds; a number without its unit is refused, since people mean different ones."""
    given = text.replace(" ", "").lower()
    if not DURATION.fullmatch(given):
        raise typer.BadParameter(f"{text!r} is no duration; one looks like 90s, 30m, 12h, 2d or 1h30m.")
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([smhd])", given))
