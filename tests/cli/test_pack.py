"""`kd pack`: a file of images becomes a data set, or one reads why not."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from cli.main import app
from kd.data import packed_images

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)


def pack(*arguments: str | Path) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["pack", *map(str, arguments)])
    return answer.exit_code, answer.output


def test_an_npz_becomes_a_data_set_of_the_data_folder(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.arange(30) % 3, classes=["cat", "cow", "dog"])

    code, said = pack(tmp_path / "a.npz", "pets", "--data", tmp_path / "data")

    assert code == 0, said
    assert "packed/pets has 30 images to learn from and 0 for the test, 8×8×3, in 3 classes; 5.76 kB under" in said
    facts = packed_images.verify(tmp_path / "data" / "datasets", "packed/pets")
    assert facts.classes == ("cat", "cow", "dog")


def test_what_cannot_be_packed_is_told_in_a_sentence(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.arange(30) % 3)
    (tmp_path / "file").touch()

    for arguments, why in [
        (("missing.npz", "pets"), "missing.npz: No such file or directory"),
        (("a.npz", "pets"), "it has no array `labels`; it has images"),
        (("b.npz", "Pets"), "its name must be packed/ and 1 to 64 of"),
        (("b.npz", "pets", "--data", tmp_path / "file"), "Not a directory"),
    ]:
        path, *others = arguments
        code, said = pack(tmp_path / path, *others)
        assert (code, why in said, "Traceback" in said) == (1, True, False), said
