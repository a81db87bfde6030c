"""What the documentation says is true: modules, fields, events, routes, settings, links, and the code it shows."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from typer.main import get_command

import kd.events
from api.app import build_app
from cli.main import app
from jobs.log.events import EVENTS
from jobs.settings import Settings
from kd.spec import GuideConfig, TrainConfig, parse

ROOT = Path(__file__).parent.parent
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


# -- modules and files --------------------------------------------------------------------------------------


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


# -- the spec -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TrainConfig, GuideConfig])
def test_every_field_of_a_spec_is_documented(config):
    fields = fields_of(config.model_json_schema())

    assert len(fields) > 25
    assert [name for name in fields if not re.search(rf"`[\w.]*\b{name}\b", SPEC)] == []


def test_no_field_is_documented_that_a_spec_does_not_have():
    fields = {name for config in (TrainConfig, GuideConfig) for name in fields_of(config.model_json_schema())}
    tables = SPEC.replace(section(SPEC, "The envelope"), "")

    documented = {part for cell in first_column(tables) for name in in_backticks(cell) for part in name.split(".")}

    assert documented - fields == set()


def fields_of(schema: dict[str, Any]) -> list[str]:
    return [name for part in (schema, *schema["$defs"].values()) for name in part["properties"]]


def test_the_envelope_of_a_job_is_documented_field_by_field():
    document = openapi()
    taken = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = {field for mode in taken["oneOf"] for field in leaves(document, mode)} - {"mode", "config"}

    documented = {name for cell in first_column(section(SPEC, "The envelope")) for name in in_backticks(cell)}

    assert documented == fields


def leaves(document: dict[str, Any], schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """The fields of a model in the OpenAPI document, also of those that are models: `limits.max_run_seconds`."""
    for name, field in model(document, schema)["properties"].items():
        if name != "config" and "properties" in model(document, field):
            yield from leaves(document, field, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def model(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_specs_are_valid(path):
    assert parse(yaml.safe_load(path.read_text())).mode == path.stem


# -- events -------------------------------------------------------------------------------------------------

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


# -- the API ------------------------------------------------------------------------------------------------


def test_every_route_is_documented_and_none_that_there_is_not():
    routes = {
        f"{method.upper()} {re.sub('{.*?}', '{}', path)}"
        for path, operations in openapi()["paths"].items()
        for method in operations
    }

    documented = set()
    for cell in first_column(API):
        for name in in_backticks(cell):
            if route := re.fullmatch(r"([A-Z, ]+) (/\S+)", name):
                path = re.sub("{.*?}", "{}", route[2])
                documented |= {f"{method} {path}" for method in route[1].split(", ") if method != "HEAD"}

    assert documented == routes


@cache
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = build_app(Settings()).openapi()
    return document


# -- settings and commands ----------------------------------------------------------------------------------


def test_every_setting_is_documented_with_its_default():
    rows = re.findall(r"\| `STILLHOUSE_(\w+)` \| ([^|]+) \|", OPERATIONS)

    assert {name.lower() for name, _ in rows} == set(Settings.model_fields)
    for name, shown in rows:
        default = Settings.model_fields[name.lower()].default
        if isinstance(default, int | float | bool):
            assert shown == str(default).lower()


@pytest.mark.parametrize(
    "path", [*PAGES, *(ROOT / name for name in (".env.example", "docker-compose.yml", "Dockerfile", "Makefile"))],
    ids=lambda path: path.name,
)  # fmt: skip
def test_no_setting_is_named_that_nobody_reads(path):
    # A variable of the command's, and one that only docker compose reads.
    known = {f"STILLHOUSE_{name.upper()}" for name in (*Settings.model_fields, "url", "port")}

    assert set(re.findall(r"STILLHOUSE_[A-Z_]+\b", path.read_text())) - known == set()


def test_the_variables_of_the_command_are_documented():
    source = "".join(path.read_text() for path in (ROOT / "cli").rglob("*.py"))

    for name in re.findall(r'envvar="(\w+)"', source):
        assert f"`{name}`" in OPERATIONS, name


def test_the_notebook_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(from kd\.run.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    exec(code, {})

    assert "event='finished'" in capsys.readouterr().out
    assert list((tmp_path / "runs" / "first").rglob("student.safetensors"))


def test_every_command_of_the_readme_exists():
    make = re.findall(r"make ([a-z-]+)", README)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    kd = re.findall(r"^\$ (?:\S+/)?kd (\w+)", README, re.MULTILINE)

    assert set(make) <= set(targets)
    assert kd
    assert set(kd) <= set(get_command(app).commands)


def test_a_newcomer_has_the_command_on_the_path_before_using_it():
    lines = [line for line in README.splitlines() if line.startswith("$ ")]

    (path,) = [number for number, line in enumerate(lines) if "PATH" in line and ".venv/bin" in line]

    assert path < min(number for number, line in enumerate(lines) if line.startswith("$ kd "))


# -- async --------------------------------------------------------------------------------------------------

COROUTINES = {
    path.relative_to(ROOT).as_posix(): found
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if (found := [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.AsyncFunctionDef)])
}


def test_every_place_with_async_code_is_documented_and_no_other():
    page = (ROOT / "docs" / "async.md").read_text()

    assert {name for cell in first_column(page) for name in in_backticks(cell)} == set(COROUTINES)


def test_no_coroutine_opens_a_session_or_a_file():
    blocking = {"begin", "read", "open"}

    opened = [
        (module, coroutine.name)
        for module, coroutines in COROUTINES.items()
        for coroutine in coroutines
        for node in ast.walk(coroutine)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        and getattr(item.context_expr.func, "attr", getattr(item.context_expr.func, "id", "")) in blocking
    ]

    assert opened == []
