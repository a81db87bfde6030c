"""Settings, commands, versions and what the README shows are what there is."""

import re

import pytest
from typer.main import get_command

from cli.main import app
from jobs.settings import Settings
from tests.support.pages import OPERATIONS, PAGES, README, ROOT


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


def test_the_versions_of_torch_are_the_same_wherever_they_are_named():
    first, beyond = re.findall(r'"torch>=2\.(\d+),<2\.(\d+)"', (ROOT / "pyproject.toml").read_text())[0]

    assert f"torch of its own (2.{first} to 2.{int(beyond) - 1}," in (ROOT / "CONTRIBUTING.md").read_text()
    assert f"own torch (>=2.{first},<2.{beyond})" in (ROOT / "constraints.txt").read_text()


def test_the_variables_of_the_command_are_documented():
    source = "".join(path.read_text() for path in (ROOT / "cli").rglob("*.py"))

    for name in re.findall(r'envvar="(\w+)"', source):
        assert f"`{name}`" in OPERATIONS, name


def test_the_notebook_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(import torch\nfrom kd\.distil.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    exec(code, {})

    assert "Test accuracy: teacher " in capsys.readouterr().out
    assert list((tmp_path / "runs").glob("*/student.safetensors"))


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
