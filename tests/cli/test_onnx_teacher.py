"""`kd teacher`: ONNX files that are kept in a data folder, or sent to a server, and learnt from."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from kd.teachers import uploads
from tests.support.models.onnx_files import linear


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear().SerializeToString())
    return path


@pytest.fixture
def add(tmp_path):
    def add(*arguments):
        return CliRunner().invoke(app, ["teacher", "add", *map(str, arguments), "--data", str(tmp_path / "data")])

    return add


def test_a_file_is_looked_through_kept_and_learnt_from_without_a_server(add, file, tmp_path):
    added = add(file, "--pixels", "unit")

    teacher_id = added.stdout.partition(":")[0]
    assert "640 parameters, images of 8×8 in 1 channel, 10 classes." in added.stdout.replace("\n", " ")
    known = uploads.read(tmp_path / "data" / "teachers", teacher_id)
    assert (known.said.name, known.graph.macs, known.said.preprocess.scale) == ("mine", 640, 255)
    settings = ["dataset=digits", f"teacher.upload={teacher_id}", "epochs=1", "views=1", "control=false"]
    options = [part for setting in settings for part in ("--set", f"config.{setting}")]
    where = ["--out", str(tmp_path / "out"), "--data", str(tmp_path / "data"), "--json"]
    ran = CliRunner().invoke(app, ["run", "--mode", "train", *options, *where])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["metrics"]["teacher.parameters"] == 640


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 2, "its input is no uint8, so it must be said what it sees of pixels: imagenet, unit, symmetric, bytes"),
        (["--pixels", "rgb"], 2, "pixels are imagenet, unit, symmetric, bytes, or mean and std say what they are"),
        (["--mean", "0.5"], 2, "mean and std go together"),
        (["--mean", "a", "--std", "1"], 2, "mean and std are numbers with commas between them"),
        (["--mean", "0.5", "--std", "0"], 2, "greater than 0"),
        (["--pixels", "unit", "--size", "224"], 2, "an image's size is HEIGHTxWIDTH"),
        (["--pixels", "unit", "--size", "9x9"], 2, "said to see images of 9×9 pixels, and the file takes 8×8 pixels"),
        (["--pixels", "unit", "--classes", "cat"], 2, "at least two names"),
        (["--pixels", "unit", "--classes", "cat,dog"], 2, "2 classes were named, and the file knows 10"),
    ],
)
def test_what_is_said_wrong_is_a_sentence_and_nothing_is_kept(add, file, tmp_path, options, code, says):
    answer = add(file, *options)

    assert answer.exit_code == code
    assert says in answer.stderr.replace("\n", " ")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["mine.py:build", "--pixels", "unit"], "--shape says what images the module takes, as in 3x224x224"),
        (["mine.py:build", "--pixels", "unit", "--shape", "2x8x8"], "--shape says what images the module takes"),
        (["none.onnx", "--pixels", "unit"], "There is no file none.onnx"),
        (["none.onnx", "--pixels", "unit", "--shape", "3x8x8"], "--weights and --shape go with a module"),
    ],
)
def test_a_module_comes_with_the_shape_of_its_images_and_a_file_without(add, options, says):
    answer = add(*options)

    assert answer.exit_code == 2
    assert says in answer.stderr.replace("\n", " ")


def test_a_file_of_another_kind_is_a_sentence(add, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "model.onnx").write_bytes(linear().SerializeToString()[:-50])

    zipped, cut = add(tmp_path / "model.pt", "--pixels", "unit"), add(tmp_path / "model.onnx", "--pixels", "unit")

    assert (zipped.exit_code, cut.exit_code) == (1, 1)
    assert "it is a zip file, as torch.save, TorchScript and .pt2 write them" in zipped.stderr.replace("\n", " ")
    assert "The ONNX model cannot be used: it is no ONNX file, or one that was cut off" in cut.stderr.replace("\n", " ")


def test_a_file_is_sent_to_a_server_listed_learnt_from_and_deleted(kd, client, file):
    pushed = kd("teacher", "push", str(file), "--mean", "0.1", "--std", "0.3", "--size", "8x8", "--name", "Ada")

    teacher_id = pushed.stdout.partition(":")[0]
    (listed,) = json.loads(kd("teacher", "ls", "--json").stdout)
    assert (listed["id"], listed["name"], listed["preprocess"]["mean"]) == (teacher_id, "Ada", [0.1])
    (row,) = [line.split() for line in kd("teacher", "ls").stdout.splitlines() if line.startswith(teacher_id)]
    assert row[1] == "Ada"
    options = ("--set", "config.dataset=digits", "--set", f"config.teacher.upload={teacher_id}")
    foreseen = kd("submit", "--mode", "train", *options, "--dry-run")
    assert "It would be taken. 1,294 images to learn from." in foreseen.stdout
    assert "How long it takes" in foreseen.stdout.replace("\n", " ")
    submitted = kd("submit", "--mode", "train", *options)
    assert submitted.exit_code == 0, submitted.output
    job = submitted.stdout.strip()
    assert f"upload {teacher_id[:12]} teaches mlp" in kd("show", job).stdout
    in_use = kd("teacher", "delete", teacher_id)
    assert (in_use.exit_code, "delete it when they have ended" in in_use.stderr.replace("\n", " ")) == (1, True)
    client.cancel(job)
    assert kd("teacher", "delete", teacher_id).exit_code == 0
    assert list(client.teachers()) == []


def test_a_teacher_of_a_server_is_evaluated_before_it_teaches(kd, helped, client, file, tmp_path):
    teacher_id = kd("teacher", "push", str(file), "--pixels", "unit").stdout.partition(":")[0]

    evaluated = kd("teacher", "evaluate", teacher_id, "--dataset", "digits", "--split", "test")

    assert evaluated.exit_code == 0, evaluated.output
    said = evaluated.stdout.replace("\n", " ")
    assert "On the test split it is right on" in said
    (row,) = [line.split() for line in evaluated.stdout.splitlines() if line.startswith("test ")]
    assert row[1] == "359"
    (job,) = client.list(mode="evaluate")
    assert f"evaluation of {teacher_id} on digits" in kd("show", job["id"]).stdout
    page = tmp_path / "page.html"
    assert kd("report", "--html", job["id"], "-o", str(page)).exit_code == 0
    assert "Does it know these images?" in page.read_text("utf-8")
    card = kd("report", "--card", job["id"])
    assert card.exit_code == 1
    unknown = kd("teacher", "evaluate", teacher_id, "--dataset", "digit")
    assert (unknown.exit_code, "the nearest are digits" in unknown.stderr.replace("\n", " ")) == (1, True)
