"""`kd teacher` with safetensors: weights of an architecture, kept in a data folder or sent to a server."""

import json

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from cli.main import app
from kd.models.build import build
from kd.teachers import uploads


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    state = build("mlp", 10, (1, 8, 8)).state_dict()
    safetensors.torch.save_file({f"module.{name}": tensor for name, tensor in state.items()}, path)
    return path


@pytest.fixture
def add(tmp_path):
    def add(*arguments):
        return CliRunner().invoke(app, ["teacher", "add", *map(str, arguments), "--data", str(tmp_path / "data")])

    return add


def test_weights_are_looked_through_kept_and_learnt_from_without_a_server(add, file, tmp_path):
    added = add(file, "--architecture", "mlp")

    assert added.exit_code == 0, added.output
    teacher_id = added.stdout.partition(":")[0]
    assert "4,810 numbers of mlp in 4 tensors" in added.stdout.replace("\n", " ")
    known = uploads.read(tmp_path / "data" / "teachers", teacher_id)
    assert (known.said.name, known.said.architecture, known.said.preprocess) == ("mine", "mlp", None)
    settings = ["dataset=digits", f"teacher.upload={teacher_id}", "epochs=1", "views=1", "control=false"]
    options = [part for setting in settings for part in ("--set", f"config.{setting}")]
    where = ["--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    ran = CliRunner().invoke(app, ["run", "--mode", "train", *options, *where])
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.output.split())
    assert "(loaded 4 of 4 tensors, without 'module.' before their names)" in said


def test_what_torch_saved_is_made_safetensors_where_it_is_and_nothing_in_it_runs(add, file, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was here"), "w"))

    state = safetensors.torch.load_file(file)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "mine.pth")
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")

    added, refused = (add(tmp_path / name, "--architecture", "mlp") for name in ("mine.pth", "evil.pth"))
    unsaid = add(tmp_path / "mine.pth")

    assert "4,810 numbers of mlp in 4 tensors" in added.stdout.replace("\n", " "), added.output
    assert (refused.exit_code, "cannot be read as weights" in refused.stderr.replace("\n", " ")) == (1, True)
    assert not (tmp_path / "was here").exists()
    assert "it is a zip file, as torch.save" in unsaid.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 1, "it is a safetensors file, which has weights and no model: say of which architecture they are"),
        (["--architecture", "mpl"], 2, "there is no model named 'mpl'"),
        (["--architecture", "torchvision/resnet18"], 1, "it must be said what torchvision/resnet18 has learnt to see"),
        (["--architecture", "mlp", "--size", "8x8"], 2, "size says how large its images are, but not what it sees"),
        (["--architecture", "mlp", "--interpolation", "bicubic"], 2, "interpolation goes with what it sees of pixels"),
        (["--architecture", "mlp", "--shape", "1x8x8"], 2, "--weights and --shape go with a module"),
    ],
)
def test_what_is_said_wrong_is_a_sentence_and_nothing_is_kept(add, file, tmp_path, options, code, says):
    answer = add(file, *options)

    assert answer.exit_code == code
    assert says in answer.stderr.replace("\n", " ")
    assert not (tmp_path / "data").exists()


def test_a_module_builds_itself_and_has_no_architecture_beside_it(add):
    answer = add("mine.py:build", "--architecture", "mlp", "--shape", "1x8x8")

    assert answer.exit_code == 2
    assert "--architecture goes with weights" in answer.stderr.replace("\n", " ")


def test_an_architecture_that_nobody_knows_is_refused_before_anything_is_sent(file):
    nobody = {"STILLHOUSE_URL": "http://127.0.0.1:1"}

    answer = CliRunner(env=nobody).invoke(app, ["teacher", "push", str(file), "--architecture", "timm/resnet81"])

    assert answer.exit_code == 2
    assert "there is no model named 'timm/resnet81'; the nearest" in " ".join(answer.stderr.split())


def test_weights_are_sent_to_a_server_with_their_architecture(kd, client, file):
    pushed = kd("teacher", "push", str(file), "--architecture", "timm/test_vit", "--size", "32x32", "--json")

    assert pushed.exit_code == 0, pushed.output
    made = json.loads(pushed.stdout)
    row = next(line.split() for line in kd("teacher", "ls").stdout.splitlines() if line.startswith(made["id"]))
    assert row[1:3] == ["mine", "timm/test_vit"]
    client.delete_teacher(made["id"])
    assert (made["architecture"], made["preprocess"]["mean"], made["preprocess"]["size"]) == (
        "timm/test_vit",
        [0.5] * 3,
        [32, 32],
    )
