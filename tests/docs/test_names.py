"""What the pages name is there: files, modules, links, the Python that they show."""

import ast
import importlib
import re
from typing import Any

from tests.support.pages import ROOMS, ROOT, each_page, in_backticks


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@each_page
def test_files_that_are_named_exist(page):
    folders = (*ROOMS, "docs", "examples", "benchmarks", "migrations", "tests")
    for name in re.findall(rf"`((?:{'|'.join(folders)})/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), name


@each_page
def test_modules_that_are_named_exist(page):
    named = [name for name in in_backticks(page.read_text()) if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+", name)]

    assert [name for name in named if not exists(name)] == []


def exists(name: str) -> bool:
    """Whether there is this module, or this thing in a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir() or path.with_suffix(".py").is_file():
            thing: Any = importlib.import_module(".".join(parts[:length]))
            for attribute in parts[length:]:
                if not hasattr(thing, attribute):
                    return False
                thing = getattr(thing, attribute)
            return True
    return False


def test_every_module_that_the_architecture_names_exists():
    modules = {path.name for room in ROOMS for path in (ROOT / room).rglob("*.py")}

    named = [name for name in in_backticks((ROOT / "ARCHITECTURE.md").read_text()) if re.fullmatch(r"\w+\.py", name)]

    assert sorted(set(named) - modules) == []


@each_page
def test_the_python_that_is_shown_compiles_and_imports_what_there_is(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ROOMS:
                assert [name.name for name in node.names if not exists(f"{node.module}.{name.name}")] == []
