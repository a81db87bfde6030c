"""Live progress: a bar at a terminal, lines in a pipe."""

from io import StringIO

import pytest
from rich.console import Console

from cli.shown.progress import ProgressBar, ProgressLines, description

HALFWAY = {
    "fraction": 0.5, "phase": "student", "epoch": 4, "epochs": 15, "images_per_second": 12_300.0, "eta_seconds": 75,
}  # fmt: skip


@pytest.fixture
def said():
    return StringIO()


def test_what_is_not_known_yet_is_left_out():
    assert description(HALFWAY, 0.971) == "student 4/15  97.10 %  12,300 images/s"
    assert description(HALFWAY | {"repetition": 2, "repetitions": 5}, None).startswith("repetition 2/5  student 4/15")
    assert description({"phase": "labelling"}, None) == "labelling"
    assert description({}, None) == "starting"


def test_a_bar_shows_how_far_it_is_and_lines_stay_above_it(said):
    with ProgressBar(Console(file=said, force_terminal=True, color_system=None, width=120)) as progress:
        progress.show(HALFWAY, 0.971)
        progress.say("The labels [of another run] are reused.")
        progress.hold("paused [for a while]")

    assert "50 %" in said.getvalue()
    assert "paused [for a while]" in said.getvalue()
    assert "The labels [of another run] are reused." in said.getvalue()


def test_a_pipe_gets_a_line_for_each_phase_and_each_reason_once(said):
    with ProgressLines(Console(file=said, width=120)) as progress:
        progress.hold("waiting: place 1")
        progress.hold("waiting: place 1")
        progress.show({"fraction": 0.0, "phase": None}, None)
        progress.show(HALFWAY, 0.971)
        progress.show({**HALFWAY, "phase": "control"}, None)

    assert said.getvalue().splitlines() == [
        "waiting: place 1",
        " 50 %  student 4/15  97.10 %  12,300 images/s  1:15 left",
        " 50 %  control 4/15  12,300 images/s  1:15 left",
    ]
