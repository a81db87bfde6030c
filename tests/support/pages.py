"""The pages of the documentation, and how to read them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
ROOMS = ("api", "cli", "client", "jobs", "kd", "worker")
API, SPEC, OPERATIONS = ((ROOT / "docs" / f"{page}.md").read_text() for page in ("api", "spec", "operations"))
README = (ROOT / "README.md").read_text()

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def section(page: str, heading: str) -> str:
    """What a page says under a heading, up to the next one."""
    return re.split(r"^## ", page.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """The cells of its tables that say what each row is about."""
    return [row for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) if "`" in row]
