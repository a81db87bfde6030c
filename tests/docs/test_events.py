"""The names of events are the same in the code and on the pages."""

import re
from pathlib import Path
from typing import get_args

import kd.events
from jobs.log.events import EVENTS
from tests.support.pages import API, ROOT, each_page, first_column, in_backticks, section

OF_RUNS = {event.model_fields["event"].default for event in get_args(get_args(kd.events.Event)[0])}


def test_the_events_of_a_job_are_documented_one_by_one():
    documented = [name for cell in first_column(section(API, "Events")) for name in in_backticks(cell)]

    assert sorted(documented) == sorted(name for name in EVENTS if not name.startswith("state."))


def test_what_a_run_says_becomes_an_event_of_its_job_or_is_documented_as_something_else():
    (sentence,) = re.findall(r"What a run says besides, (.*?):", section(API, "Events"), re.DOTALL)

    assert set(in_backticks(sentence)) == OF_RUNS - set(EVENTS)


def test_what_the_code_writes_to_the_log_of_a_job_can_be_asked_for():
    source = "".join(path.read_text() for path in (ROOT / "jobs").rglob("*.py"))

    written = set(re.findall(r'\bNewEvent\("(\w+)"', source))

    assert len(written) > 3
    assert written - set(EVENTS) == set()


@each_page
def test_no_event_is_told_of_that_nobody_says(page):
    text = " ".join(in_the_present(page).split())

    told_of = re.findall(r"`([\w.]+)` events?\b", text) + re.findall(r"[Ee]vents? `([\w.]+)`", text)

    assert set(told_of) - OF_RUNS - set(EVENTS) == set()


def in_the_present(page: Path) -> str:
    """The changelog also tells of what there was."""
    return "" if page.name == "CHANGELOG.md" else page.read_text()
