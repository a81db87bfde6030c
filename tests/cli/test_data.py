"""`kd data`: a folder of photos becomes a data set, or one reads why not; and which there are."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app


def kd(*arguments: str | Path) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["data", *map(str, arguments)])
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
