"""A teacher's file is of one of two kinds; of every other it is said what to do."""

import hashlib
import io
import json

import pytest
import safetensors.torch
import torch

from kd.models.preprocess.said import Preprocess
from kd.teachers import uploads
from kd.teachers.kinds import NotTaken, kind_of
from kd.teachers.uploads import Said
from tests.support.models.onnx_files import linear
from tests.support.models.safetensors_files import lying, tensor

WEIGHTS = safetensors.torch.save({"a": torch.ones(2, 3)})


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (linear().SerializeToString(), "onnx"),
        (WEIGHTS, "safetensors"),
        # Of lengths that other kinds of files begin with.
        (lying({"a" * 62: tensor()}), "safetensors"),
        (lying({"a": tensor()}, length=1 << 60), "safetensors"),
    ],
)
def test_the_kind_is_told_by_the_first_bytes(content, kind):
    assert kind_of(io.BytesIO(content)) == kind


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04rest", "it is a zip file, as torch.save, TorchScript and .pt2 write them; they hold code: export"),
        (b"\x80\x02rest", "it is a pickle, which is code: export the model as ONNX"),
        (b"\x89HDF\r\n", "it is an HDF5 file, as Keras writes them: convert it with tf2onnx"),
        (b"GGUF\x03\0\0\0", "it is a GGUF file, which has the weights of a language model"),
        (b"\x1f\x8b\x08\0", "it is compressed with gzip: unpack it"),
        (b"\x1c\0\0\0TFL3", "it is a TensorFlow Lite file: convert it with tf2onnx"),
        (WEIGHTS, "it is a safetensors file, which has weights and no model: say of which architecture they are"),
    ],
)
def test_other_kinds_of_files_are_refused_with_what_to_do(tmp_path, content, why):
    with pytest.raises(NotTaken) as caught:
        uploads.add(tmp_path, io.BytesIO(content), Said(name="x"))

    assert caught.value.why.startswith(why)
    assert not list(tmp_path.iterdir()), "nothing of it was kept"


def test_whoever_holds_code_is_told_how_to_save_weights_alone(tmp_path):
    with pytest.raises(NotTaken, match=r"or save its weights alone, `safetensors\.torch\.save_file"):
        uploads.add(tmp_path, io.BytesIO(b"\x80\x02rest"), Said(name="x", architecture="resnet20"))


@pytest.mark.parametrize(
    ("content", "architecture", "why"),
    [
        (linear().SerializeToString(), "resnet20", "it is no safetensors file, and resnet20 was said to be"),
        (WEIGHTS, "onnx", "onnx is no architecture to train"),
        (WEIGHTS, "resnet19", "there is no model named 'resnet19'"),
        (WEIGHTS, "torchvision/resnet18", "it must be said what torchvision/resnet18 has learnt to see of pixels"),
        (WEIGHTS[:-1], "resnet20", "its tensors take 24 bytes, and 23 are there: it was cut off"),
    ],
)
def test_weights_come_with_an_architecture_that_they_can_be_of(tmp_path, content, architecture, why):
    with pytest.raises(NotTaken, match=why):
        uploads.add(tmp_path, io.BytesIO(content), Said(name="x", architecture=architecture))

    assert not list(tmp_path.iterdir()), "nothing of it was kept"


FACTS = {"arch": "mlp", "classes": ["cat", "dog"], "shape": [3, 4, 5], "mean": [0.1] * 3, "std": [0.2] * 3}


def of_stillhouse(**changes: object) -> bytes:
    return safetensors.torch.save({"a": torch.ones(2, 3)}, {"stillhouse": json.dumps(FACTS | changes)})


def test_what_stillhouse_wrote_needs_no_words(tmp_path):
    found, _ = uploads.add(tmp_path, io.BytesIO(of_stillhouse()), Said(name="x"))

    assert found.said == Said(
        name="x",
        architecture="mlp",
        preprocess=Preprocess(mean=(0.1,) * 3, std=(0.2,) * 3, size=(4, 5)),
        classes=("cat", "dog"),
    )
    renamed = Said(name="x", architecture="mlp", classes=("Katze", "Hund"))
    assert uploads.add(tmp_path, io.BytesIO(of_stillhouse()), renamed)[0].said.classes == ("Katze", "Hund")


@pytest.mark.parametrize(
    ("content", "said", "why"),
    [
        (of_stillhouse(), {"architecture": "cnn"}, "its header says that its weights are of mlp, and cnn was said"),
        (of_stillhouse(), {"preprocess": Preprocess()}, "its header says what it sees of an image: leave out pixels"),
        (of_stillhouse(arch="onnx"), {}, "onnx is no architecture to train"),
        (of_stillhouse(arch="none"), {}, "there is no model named 'none'"),
        (of_stillhouse(shape=[3, 10**6, 10**6]), {}, "what its header says of its model is nothing that Stillhouse"),
        (of_stillhouse(std=[0.0] * 3), {}, "what its header says of its model is nothing that Stillhouse"),
        (of_stillhouse(mean=[1e999] * 3), {}, "what its header says of its model is nothing that Stillhouse"),
        (of_stillhouse(mean=["a"]), {}, "what its header says of its model is nothing that Stillhouse"),
    ],
)
def test_what_stillhouse_did_not_write_but_claims_it_is_refused(tmp_path, content, said, why):
    with pytest.raises(NotTaken, match=why):
        uploads.add(tmp_path, io.BytesIO(content), Said(name="x", **said))


def test_who_a_teacher_is_depends_on_its_file_its_architecture_and_what_it_sees(tmp_path):
    def add(**said) -> str:
        return uploads.add(tmp_path, io.BytesIO(WEIGHTS), Said(name="x", **said))[0].id

    ids = [add(architecture="mlp"), add(architecture="cnn"), add(architecture="mlp", preprocess=Preprocess())]

    assert len({*ids, add(architecture="mlp")}) == 3
    known = uploads.read(tmp_path, ids[0])
    assert (known.kind, known.arch, known.weights.tensors, known.weights.numbers) == ("safetensors", "mlp", 1, 6)


def test_a_teacher_that_was_kept_before_there_were_weights_is_the_same_one(tmp_path):
    """Its name was made of the words that there were then, and its manifest has no others."""
    content = linear().SerializeToString()
    words = (
        '{"preprocess":{"scale":255.0,"mean":[0.0],"std":[1.0],"size":null,"interpolation":"bilinear"},"classes":null}'
    )
    found, _ = uploads.add(tmp_path, io.BytesIO(content), Said(name="x", preprocess=Preprocess()))
    older = found.model_dump(mode="json", exclude={"kind": True, "weights": True, "said": {"architecture"}})
    uploads.manifest(tmp_path, found.id).write_text(json.dumps(older))

    assert found.id == "tch_" + hashlib.sha256(f"{found.sha256} {words}".encode()).hexdigest()[:28]
    assert uploads.read(tmp_path, found.id) == found
    assert uploads.add(tmp_path, io.BytesIO(content), found.said) == (found, False)
