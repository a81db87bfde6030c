"""`kd run --models`: a file with architectures of one's own, for one run."""

import re

import pytest
from typer.testing import CliRunner

from cli.main import app
from kd.models.own import names
from tests.support.models.installed import TINY, install

TABLE = TINY + '\nMODELS = {"tiny": tiny, "by-size": by_size}\n'
OPTIONS = ["--mode", "train", "--set", "config.dataset=digits", "--set", "config.epochs=1", "--set", "config.views=1"]


@pytest.fixture
def go(tmp_path):
    """Run with a file of this code; what the command answers."""

    def go(code, *options):
        (tmp_path / "my_models.py").write_text(code)
        where = ["--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
        return CliRunner().invoke(app, ["run", "--models", str(tmp_path / "my_models.py"), *where, *OPTIONS, *options])

    return go


def test_a_run_has_the_models_of_a_file_and_says_what_is_missing_without_it(go, tmp_path):
    (tmp_path / "beside.py").write_text("WIDTH = 16\n")
    teacher = ["--set", "config.teacher={arch: own/by-size, epochs: 1}", "--set", "config.student.arch=own/tiny"]

    ran = go("from beside import WIDTH\n" + TABLE, *teacher)
    later = CliRunner().invoke(app, ["run", "--resume", "--out", str(tmp_path / "out")])

    assert ran.exit_code == 0, ran.output
    assert re.search(r"student +own/tiny +\d", ran.stdout)
    assert names.names() == ()
    assert later.exit_code == 1
    assert "there is no model named 'own/tiny', and none of your own at all" in later.stderr


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("x = 1", 'it has no table of them, such as MODELS = {"tiny": tiny}'),
        ("MODELS = {}", "its MODELS must be a dict that is not empty"),
        ("MODELS = [print]", "its MODELS must be a dict that is not empty"),
        ("MODELS = {'my net': print}", "'my net' is no name for a model; specs would have own/ and 1 to 64 of"),
        ("MODELS = {'tiny': 3}", "'tiny' is no function that builds a module"),
        ("from torch import nn\nMODELS = {'tiny': nn.Linear(1, 1)}", "'tiny' is a module, where a function is wanted"),
        ("MODELS = {'tiny': lambda classes: 0}", "own/tiny cannot be used: its factory takes no argument channels"),
        ("MODELS = {'installed': lambda **_: 0}", "own/installed is registered by tiny-models 1.2 already"),
        ("import nothing_of_that_name", "raises ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def tiny(:", "to import it raises SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "to import it raises SystemExit: 3"),
    ],
)
def test_a_file_that_registers_no_models_says_why(go, tmp_path, monkeypatch, code, why):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", {"installed": "tiny"})))

    refused = go(code)

    assert refused.exit_code == 1
    assert why in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "why"), [("none.py", "there is no such file"), ("folder", "it is a folder"), ("models.txt", "end in .py")]
)
def test_what_is_no_python_file_is_told_so(tmp_path, path, why):
    (tmp_path / "folder").mkdir()
    (tmp_path / "models.txt").write_text(TABLE)

    refused = CliRunner().invoke(app, ["run", "--models", str(tmp_path / path), *OPTIONS])

    assert refused.exit_code == 1
    assert why in refused.stderr


def test_a_name_in_two_files_is_refused(go, tmp_path):
    (tmp_path / "others.py").write_text(TABLE)

    refused = go(TABLE, "--models", str(tmp_path / "others.py"))

    assert f"{tmp_path / 'my_models.py'} has a own/tiny as well" in refused.stderr
