"""A teacher that is brought along, as `kd run` takes it and as results show it."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.shown import results
from cli.shown.narration import Narration
from cli.shown.results import Outcome

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"
SPEC = {
    "mode": "train",
    "config": {
        "dataset": "digits",
        "teacher": {"arch": "cnn_small", "epochs": 1},
        "epochs": 1,
        "batch_size": 128,
        "control": False,
    },
}
BROUGHT = {"mode": "train", "config": {**SPEC["config"], "teacher": {"job": JOB}}}


@pytest.fixture
def kd(tmp_path):
    """`kd run` of a spec, in this process."""
    torch.set_num_threads(1)

    def kd(spec: dict, *options: str):
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        command = ["run", str(tmp_path / "spec.json"), "--data", str(tmp_path / "data"), *options]
        return CliRunner().invoke(app, command)

    return kd


def test_kd_run_takes_a_teacher_from_a_file_and_goes_on_without_it(kd, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert kd(SPEC, "--out", str(first)).exit_code == 0
    teacher = first / "teacher.safetensors"

    done = kd(BROUGHT, "--out", str(second), "--teacher-file", str(teacher))
    teacher.unlink()
    again = kd(BROUGHT, "--out", str(second), "--resume")

    assert done.exit_code == again.exit_code == 0, done.output + again.output
    assert f"The teacher is the teacher of {JOB}, a cnn_small: none is trained here." in done.stdout
    assert "on validation, brought along" in done.stdout
    for shown in (done.stdout, again.stdout):
        (row,) = [line.split() for line in shown.splitlines() if line.split()[:2] == ["teacher", "cnn_small"]]
        assert row[-2:] == ["brought", "along"]


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        (BROUGHT, [], f"`kd download {JOB} --artifact teacher.safetensors` fetches"),
        (SPEC, ["--teacher-file", __file__], "this one does not"),
        (BROUGHT, ["--teacher-file", "nowhere"], "does not exist"),
    ],
)
def test_the_file_is_asked_for_exactly_when_the_spec_names_a_job(kd, tmp_path, spec, options, says):
    answer = kd(spec, "--out", str(tmp_path / "out"), *options)

    assert answer.exit_code == 2
    assert says in answer.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_file_of_something_else_is_a_sentence(kd, tmp_path):
    answer = kd(BROUGHT, "--out", str(tmp_path / "out"), "--teacher-file", __file__)

    assert answer.exit_code == 1
    assert f"{Path(__file__).name} does not hold the weights of a model" in answer.stderr.replace("\n", " ")


def test_a_result_shows_whose_teacher_it_was(capsys):
    config = {"teacher": {"job": JOB, "role": "student"}, "student": {"arch": "mlp"}, "dataset": "digits"}
    narration = Narration()
    list(narration.narrate("phase", {"phase": "teacher", "facts": {"arch": "cnn_small", "images": 144}}))

    outcome = Outcome(
        {"teacher.test.top1": 0.95, "student.test.top1": 0.9},
        {"teacher": 0.3, "student": 61},
        results.archs(config, narration.brought),
        brought=results.brought(config),
    )
    results.show(outcome, Console(width=100))

    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert (rows["teacher"][1], rows["teacher"][-2:]) == ("cnn_small", ["brought", "along"])
    assert rows["student"][-1] == "1:01"
    assert results.archs(config)["teacher"] == f"the student of {JOB}", "before it has been heard what that is"
