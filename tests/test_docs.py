"""What the documentation says is true: fields, settings, links, and the code it shows."""

import re
from pathlib import Path

import pytest
import yaml

from jobs.settings import Settings
from kd.spec import GuideConfig, TrainConfig, parse

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("config", [TrainConfig, GuideConfig])
def test_every_field_of_a_spec_is_documented(config):
    text = (ROOT / "docs" / "spec.md").read_text()
    schema = config.model_json_schema()

    fields = [name for part in (schema, *schema["$defs"].values()) for name in part["properties"]]

    assert len(fields) > 25
    assert [name for name in fields if not re.search(rf"`[\w.]*\b{name}\b", text)] == []


def test_every_setting_is_documented_with_its_default():
    rows = re.findall(r"\| `STILLHOUSE_(\w+)` \| ([^|]+) \|", (ROOT / "docs" / "operations.md").read_text())

    assert {name.lower() for name, _ in rows} == set(Settings.model_fields)
    for name, shown in rows:
        default = Settings.model_fields[name.lower()].default
        if isinstance(default, int | float | bool):
            assert shown == str(default).lower()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    for name in re.findall(
        r"`((?:api|cli|client|docs|jobs|kd|worker|examples|benchmarks|migrations)/[\w./-]+)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_the_notebook_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(from kd\.run.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)

    exec(code, {})

    assert "event='finished'" in capsys.readouterr().out
    assert list((tmp_path / "runs" / "first").rglob("student.safetensors"))


def test_every_command_of_the_readme_exists():
    make = re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    from typer.main import get_command

    from cli.main import app

    commands = get_command(app).commands
    kd = re.findall(r"^\$ (?:\S+/)?kd (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert set(make) <= set(targets)
    assert kd
    assert set(kd) <= set(commands)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_specs_are_valid(path):
    assert parse(yaml.safe_load(path.read_text())).mode == path.stem
