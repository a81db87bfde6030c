"""A student leaves as one ONNX file, which says what the student says wherever it runs, or is not offered."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kd.data.dataset import Dataset, load_dataset
from kd.data.ingest.add import add
from kd.data.packing import Chunk, pack
from kd.errors import BadWeights, DataError, ExportUnfit, GraphLost, ModelMissing, NotConverted
from kd.events import Event, Finished, Step, Wrote
from kd.export import onnx, verify
from kd.export.export import export
from kd.models.build import build
from kd.models.own.files import registered
from kd.models.safetensors.facts import Facts
from kd.models.weights import copy_of, load_model, save_weights
from kd.spec import TrainConfig
from kd.spec.export import ExportConfig
from kd.training.run import prepare
from tests.kd.data.ingest.photos import encoded, photo

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW", "role": "student"}
Exported = tuple[list[Event], dict[str, Any]]


def student_of(dataset: Dataset, arch: str, out: Path, shape: tuple[int, int, int] | None = None) -> Path:
    """A student's weights, that has seen enough to be no guesser: its statistics are of these images."""
    torch.manual_seed(0)
    shape = shape or dataset.shape
    model = build(arch, len(dataset.classes), shape)
    facts = Facts(arch=arch, classes=dataset.classes, shape=shape, mean=dataset.mean, std=dataset.std)
    if shape == dataset.shape:
        images, optimizer = (
            verify.as_seen(dataset.train.images, facts).contiguous(),
            torch.optim.Adam(model.parameters(), 3e-3),
        )
        for image_B in torch.randperm(len(images)).split(64)[:20]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[image_B]), dataset.train.labels[image_B]).backward()
            optimizer.step()
    return out / save_weights(copy_of(model.eval()), facts, out, Path("student.safetensors")).path


@pytest.fixture
def exported(tmp_path, data) -> Callable[..., Exported]:
    """What an export says, and its `verify.json`."""

    def exported(file: Path, folder: Path = data, sha256: str | None = None, **wanted: Any) -> Exported:
        config = ExportConfig(**({"dataset": "digits", "validation_fraction": 0.1, "model": MODEL} | wanted))
        said = list(export(config, tmp_path / "out", data_folder=folder, model_file=(file, sha256)))
        return said, json.loads((tmp_path / "out" / "verify.json").read_text())

    return exported


WITHOUT_TORCH = """
import runpy, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "kd", "jobs", "api", "worker", "client", "cli"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
runner, *images = sys.argv[1:]
sys.argv = [runner, *images]
runpy.run_path(runner, run_name="__main__")
"""


def run_elsewhere(archive: Path, folder: Path, images: list[Path]) -> list[dict[str, float]]:
    """What the archive's own program says of images, by class, where there is nothing of ours and no torch."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    command = [sys.executable, "-I", "-c", WITHOUT_TORCH, str(folder / "run.py"), *map(str, images)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [dict(json.loads(line)["says"]) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arch", "preprocessing"),
    [
        ("mlp", True),
        ("cnn_small", False),
        pytest.param("resnet8x4", True, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2_x0_5", True, marks=pytest.mark.slow),
        pytest.param("shufflenet_v2", True, marks=pytest.mark.slow),
    ],
)
def test_it_says_the_same_where_nothing_of_ours_is_installed(data, tmp_path, exported, arch, preprocessing):
    dataset = load_dataset("digits", data, 0.1)
    file = student_of(dataset, arch, tmp_path)

    said, found = exported(file, preprocessing=preprocessing)

    model, facts = load_model(file)
    with torch.inference_mode():
        logits_NC = model(verify.as_seen(dataset.test.images, facts))
    hits = (logits_NC.argmax(1) == dataset.test.labels).double().mean().item()
    assert found["top1"] == found["student_top1"] == pytest.approx(hits, abs=1e-9)
    assert (found["agreement"], found["images"]) == (1, 359)
    assert found["largest_difference"]["probability"] < 1e-5
    assert found["latency_seconds"].keys() == {"batch1", "batch64"}
    assert [event.file.name for event in said if isinstance(event, Wrote)] == [
        "verify.json", "student.onnx", "student-onnx.zip",
    ]  # fmt: skip
    assert isinstance(said[-1], Finished)
    fractions = [event.fraction for event in said if isinstance(event, Step)]
    assert (fractions, fractions[-1]) == (sorted(fractions), 0.95)
    paths = []
    for image in range(20):
        paths.append(tmp_path / f"{image}.png")
        Image.fromarray(dataset.test.pixels(image)[:, :, 0]).save(paths[-1])
    for image, told in enumerate(run_elsewhere(tmp_path / "out" / "student-onnx.zip", tmp_path / "there", paths)):
        probability_C = logits_NC[image].softmax(0)
        for name, share in told.items():
            assert share == pytest.approx(probability_C[dataset.classes.index(name)].item(), abs=1e-4)


def test_of_photos_its_program_does_what_was_done_to_those_it_has_learnt_from(tmp_path, exported):
    """Resized and cut as they were when they were packed, then as the model sees them: to a rounding of Pillow's."""
    files = {
        f"{kind}/{number}.jpg": encoded(photo(place * 10 + number, 90, 60), "JPEG")
        for place, kind in enumerate(("cat", "dog"))
        for number in range(6)
    }
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    folder = tmp_path / "sets"
    add(folder, "packed/pets", tmp_path / "pets.zip", size=32)
    dataset = load_dataset("packed/pets", folder, 0.1)
    file = student_of(dataset, "cnn_small", tmp_path, (3, 24, 24))

    exported(file, folder, dataset="packed/pets", input_size=24)

    paths = []
    for name, content in files.items():
        paths.append(tmp_path / name.replace("/", "-"))
        paths[-1].write_bytes(content)
    told = run_elsewhere(tmp_path / "out" / "student-onnx.zip", tmp_path / "there", paths)
    model, _ = load_model(file)
    config = TrainConfig(dataset="packed/pets", input_size=24)
    run = prepare(
        config, dataset, torch.device("cpu"), autocast_dtype=None, out=tmp_path, labels=tmp_path, teacher_arch=""
    )
    ours = []
    for split in (run.train, run.validation, run.test()):
        with torch.inference_mode():
            probability_NC = model(split.viewer.plain(torch.arange(len(split)))).softmax(1)
        ours += probability_NC[:, dataset.classes.index("cat")].tolist()
    assert sorted(each["cat"] for each in told) == pytest.approx(sorted(ours), abs=2e-3)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("another normalisation", "it loses more than 0.50%|it says something else"),
        ("no number", "no finite numbers"),
        ("another class order", "it loses more than 0.50%"),
    ],
)
def test_a_file_that_says_something_else_is_not_offered(data, tmp_path, exported, monkeypatch, what, why):
    file = student_of(load_dataset("digits", data, 0.1), "cnn_small", tmp_path)

    def broken(self: Any, images_BCHW: torch.Tensor) -> torch.Tensor:
        pixels_BCHW = images_BCHW.float() if what == "another normalisation" else images_BCHW.float() / 255
        answers_BC = self.model((pixels_BCHW - self.mean_C11) / self.std_C11)
        if what == "no number":
            answers_BC = answers_BC * 1e30 * 1e30
        return (answers_BC.flip(1) if what == "another class order" else answers_BC).softmax(dim=1)

    monkeypatch.setattr(onnx.Deployed, "forward", broken)

    with pytest.raises(ExportUnfit, match=why):
        exported(file)
    assert not (tmp_path / "out" / "student.onnx").exists()


def test_without_the_packages_for_it_one_reads_what_to_install(data, tmp_path, exported, monkeypatch):
    file = student_of(load_dataset("digits", data, 0.1), "mlp", tmp_path)
    monkeypatch.setattr(onnx, "PACKAGES", ("onnx", "onnxscript_that_nobody_has"))

    with pytest.raises(ModelMissing, match=r"is not installed: pip install 'stillhouse\[onnx\]' where the workers run"):
        exported(file)


def said_of(*classes: int) -> torch.Tensor:
    return torch.eye(10)[list(classes)].mul(20).log_softmax(dim=1)


@pytest.mark.parametrize(
    ("right", "wrong", "loses_at_most", "why"),
    [
        (99, 1, 0.01, None),
        (98, 2, 0.02, "it says something else than the student of 2 of 100 test images"),
        (98, 2, 0.005, "right on 98.00%, and the student on 100.00%: it loses more than 0.50%"),
    ],
)
def test_what_may_be_lost_is_for_the_user_to_say_and_a_draw_may_turn(right, wrong, loses_at_most, why):
    labels = torch.arange(100) % 10
    compared = verify.Comparison()
    said = [(int(label) + (place >= right)) % 10 for place, label in enumerate(labels)]
    compared.add(said_of(*labels.tolist()), said_of(*said), labels)

    assert compared.told()["agreement"] == right / 100
    if why is None:
        compared.judge(loses_at_most=loses_at_most)
        return
    with pytest.raises(ExportUnfit, match=why):
        compared.judge(loses_at_most=loses_at_most)


OWN = """
import torch
from torch import nn


class Viewing(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(192, classes)

    def forward(self, images):
        return self.layer(images.view(images.shape[0], -1))


class OneByOne(Viewing):
    def forward(self, images):
        return torch.stack([self.layer(image.reshape(-1)) for image in images])


def viewing(classes, channels):
    return Viewing(classes)


def one_by_one(classes, channels):
    return OneByOne(classes)


MODELS = {"viewing": viewing, "one_by_one": one_by_one}
"""


@pytest.mark.parametrize(("arch", "batch"), [("own/viewing", None), ("own/one_by_one", 1)])
def test_an_architecture_of_ones_own_leaves_too_if_need_be_for_one_image_at_a_time(tmp_path, exported, arch, batch):
    images = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), np.uint8)
    pack(tmp_path / "sets", "packed/ten", [Chunk(images, np.arange(80) % 10)])
    (tmp_path / "theirs.py").write_text(OWN)
    with registered([tmp_path / "theirs.py"]):
        file = student_of(load_dataset("packed/ten", tmp_path / "sets", 0.1), arch, tmp_path)

        _, found = exported(file, tmp_path / "sets", dataset="packed/ten")

    assert found["agreement"] == 1
    path = tmp_path / "image.png"
    Image.fromarray(images[0]).save(path)
    run_elsewhere(tmp_path / "out" / "student-onnx.zip", tmp_path / "there", [path])
    assert json.loads((tmp_path / "there" / "preprocess.json").read_text())["batch"] == batch


def test_of_images_that_are_no_files_none_leaves(tmp_path, exported):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 4), np.uint8)
    pack(tmp_path / "sets", "packed/four", [Chunk(images, np.arange(60) % 10)])
    file = student_of(load_dataset("packed/four", tmp_path / "sets", 0.1), "mlp", tmp_path)

    with pytest.raises(NotConverted, match="it sees images of 4 channels"):
        exported(file, tmp_path / "sets", dataset="packed/four")


def test_a_process_that_dies_says_little_of_the_file(data, tmp_path, exported, monkeypatch):
    file = student_of(load_dataset("digits", data, 0.1), "mlp", tmp_path)

    def die(self: Any, images: Any) -> Any:
        raise GraphLost("the process it ran in was ended by signal 9")

    monkeypatch.setattr("kd.models.onnx.session.Session.answer", die)
    with pytest.raises(GraphLost):
        exported(file)


def test_weights_that_have_changed_and_images_that_were_packed_anew_are_refused(tmp_path, exported):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    pack(tmp_path / "sets", "packed/ten", [Chunk(images, np.arange(60) % 10)])
    file = student_of(load_dataset("packed/ten", tmp_path / "sets", 0.1), "mlp", tmp_path)
    with pytest.raises(BadWeights, match="its content has changed"):
        exported(file, tmp_path / "sets", "0" * 64, dataset="packed/ten")

    pack(tmp_path / "others", "packed/ten", [Chunk(images // 2, np.arange(60) % 10)])
    with pytest.raises(DataError, match="it is not the one from which the student has learnt: it was packed anew"):
        exported(file, tmp_path / "others", dataset="packed/ten")


def test_the_same_export_is_the_same_archive(data, tmp_path, exported):
    file = student_of(load_dataset("digits", data, 0.1), "mlp", tmp_path)

    def archived() -> dict[str, bytes]:
        exported(file, images=50)
        with zipfile.ZipFile(io.BytesIO((tmp_path / "out" / "student-onnx.zip").read_bytes())) as packed:
            return {name: packed.read(name) for name in packed.namelist() if name != "verify.json"}  # has times

    assert archived() == archived()
