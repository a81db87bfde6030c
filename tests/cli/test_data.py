"""`kd data`: a folder of photos becomes a data set, or one reads why not; and which there are."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from client import Client
from tests.support.served import Server


def kd(*arguments: str | Path, url: str = "http://127.0.0.1:1") -> tuple[int, str]:
    answer = CliRunner(env={"STILLHOUSE_URL": url}).invoke(app, ["data", *map(str, arguments)])
    return answer.exit_code, answer.output


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / "Pets v2" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(chance.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    return tmp_path / "Pets v2"


def test_photos_become_a_data_set_of_a_server_which_says_what_it_understood(helped: Server, pets: Path) -> None:
    code, said = kd("push", pets, "--size", "8", url=helped.url)
    again, why = kd("push", pets, "--size", "8", url=helped.url)
    wrong, sentence = kd("push", pets, "--name", "other", "--classes", "cat,cow", url=helped.url)
    with Client(helped.url) as client:
        job = next(client.list(mode="ingest", status="failed"))["id"]
    shown = CliRunner(env={"STILLHOUSE_URL": helped.url}).invoke(app, ["show", job])
    deleted, gone = kd("delete", "pets-v2", url=helped.url)

    assert code == 0, said
    assert "Pets-v2.zip is understood as class/image: 2 classes, 8 train.\n" in said
    assert "packed/pets-v2 has 8 images to learn from, 0 for validation and 0 for the test, in 2 classes." in said
    assert (again, "There is a data set packed/pets-v2 already" in why) == (1, True)
    assert (wrong, "there is no class named 'dog'" in sentence) == (1, True)
    assert ("ingest of packed/other" in shown.stdout, shown.exit_code) == (True, 0)
    assert (deleted, gone) == (0, "packed/pets-v2 is deleted.\n")
    assert kd("delete", "pets-v2", url=helped.url)[0] == 1


def test_photos_become_a_data_set_that_is_listed(tmp_path: Path, pets: Path) -> None:
    code, said = kd("add", pets, "--size", "8", "--classes", "dog, cat", "--data", tmp_path)

    assert code == 0, said
    assert "Pets v2 is understood as class/image: 2 classes, 8 train.\n" in said
    assert "packed/pets-v2 has 8 images to learn from and 0 for the test, 8×8×3, in 2 classes; 1.54 kB under" in said
    code, listed = kd("ls", "--data", tmp_path)
    assert [line.split() for line in listed.splitlines()][1] == [
        *("packed/pets-v2", "8", "8", "0", "0", "8×8×3", "2:", "dog,", "cat", "1.54", "kB"),
    ]
    (as_json,) = json.loads(kd("ls", "--json", "--data", tmp_path)[1])
    assert (as_json["name"], as_json["classes"], as_json["resized"]["side"]) == ("packed/pets-v2", ["dog", "cat"], 8)


def test_a_data_set_is_looked_through_when_it_is_made_and_on_request(tmp_path: Path, pets: Path) -> None:
    (pets / "cat" / "0.png").rename(pets / "dog" / "9.png")
    (pets / "cat" / "9.png").write_bytes((pets / "dog" / "9.png").read_bytes())
    Image.new("RGB", (12, 9)).save(pets / "dog" / "blank.png")
    _, made = kd("add", pets, "--size", "8", "--data", tmp_path)
    folder = tmp_path / "datasets" / "packed" / "pets-v2"
    report = json.loads((folder / "report.json").read_text())
    for name in ("report.json", "report.html"):
        (folder / name).unlink()  # as an earlier version leaves it
    code, said = kd("doctor", "pets-v2", "--data", tmp_path)
    missing, why = kd("doctor", "pets", "--data", tmp_path)

    blank, double = "1 image shows nothing: every pixel has the same colour.", "with another label as well"
    assert (blank in made, made.count(double)) == (True, 1), "packing has told of the other one"
    assert (code, blank in said, double in said) == (0, True, True)
    assert f"To look at it: {folder / 'report.html'}" in said.replace("\n", "")
    assert json.loads((folder / "report.json").read_text()) == report
    assert (missing, "There is no data set" in why or "there is no data set" in why) == (1, True)


def test_what_makes_no_data_set_is_told_in_a_sentence(tmp_path: Path, pets: Path) -> None:
    (tmp_path / "file.zip").write_bytes(b"PK\x03\x04 cut off")
    Image.new("RGB", (9, 9)).save(pets / "cat" / "9.png")

    for arguments, why in [
        (("missing",), "missing: No such file or directory"),
        (("file.zip",), "file.zip makes no data set: it is damaged"),
        (("Pets v2",), "its images are of 2 sizes, 8 of them 12×9: give a size"),
        (("Pets v2", "--name", "A"), "its name must be packed/ and 1 to 64 of"),
        (("Pets v2", "--size", "8", "--max-files", "3"), "it holds more than 3 files"),
        (("Pets v2", "--size", "8", "--classes", "cat,cow"), "there is no class named 'dog'"),
    ]:
        path, *others = arguments
        code, said = kd("add", tmp_path / path, *others, "--data", tmp_path)
        assert (code, why in said, "Traceback" in said) == (1, True, False), said


def test_a_damaged_data_set_is_told_and_the_others_are_listed(tmp_path: Path, pets: Path) -> None:
    for name in ("one", "two"):
        kd("add", pets, "--name", name, "--size", "8", "--data", tmp_path)
    (tmp_path / "datasets" / "packed" / "one" / "facts.json").write_text("{}")

    code, said = kd("ls", "--data", tmp_path)

    assert code == 0
    assert "facts.json is damaged" in said
    assert "packed/two" in said


def test_a_bad_name_of_a_file_cannot_steer_the_terminal(tmp_path: Path, pets: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    (pets / "cat" / "\x1b[2J.png").write_bytes(file.getvalue())

    code, said = kd("add", pets, "--data", tmp_path)

    assert code == 1
    assert "\x1b" not in said
    assert "holds U+001B" in said
