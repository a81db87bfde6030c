"""A table that holds what the teacher's classifier reads, behind its logits."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.errors import FeatureTooLarge, SpecUnfit
from kd.events import Event, Noted, PhaseStarted, Saved, Wrote
from kd.labels.cache import LabelCacheFull
from kd.labels.manifest import Identity, read_manifest
from kd.models.features import name_classifier
from kd.models.safetensors.facts import Facts
from kd.models.weights import load_model, save_weights
from kd.run import run
from kd.spec import parse

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"
TINY = {"dataset": "digits", "epochs": 2, "batch_size": 128, "checkpoint_seconds": 3600, "control": False}
OF_LOGITS = {**TINY, "teacher": {"arch": "cnn_small", "epochs": 1}, "views": 2}
OF_FEATURES = {**OF_LOGITS, "objective": {"also": [{"method": "rkd"}]}}
WIDTH = 16 * 1 * 1  # of cnn_small on images of 8×8


def go(config: dict, out: Path, data: Path, labels: Path, mode: str = "train", **options) -> list[Event]:
    return list(run(parse({"mode": mode, "config": config}), out, data_folder=data, label_folder=labels, **options))


def student_of(out: Path, events: list[Event]) -> dict[str, torch.Tensor]:
    last = [event.student for event in events if isinstance(event, Saved) and event.student][-1]
    return load_model(out / last.path)[0].state_dict()


def codes(events: list[Event]) -> list[str]:
    return [event.code for event in events if isinstance(event, Noted)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def wide(data, tmp_path_factory) -> tuple[Path, list[Event]]:
    """The folder of a run whose objective compares features, and what it said; its tables are in `labels` there."""
    folder = tmp_path_factory.mktemp("wide")
    return folder, go(OF_FEATURES, folder, data, folder / "labels")


def test_a_label_is_the_logits_and_behind_them_what_the_classifier_makes_them_of(wide):
    folder, events = wide
    (path,) = (folder / "labels").glob("*.json")
    manifest = read_manifest(path)
    table_NVC = np.load(path.with_suffix(".npy")).astype(np.float32)
    teacher, _ = load_model(folder / "teacher.safetensors")

    assert (manifest.shape, manifest.pooled) == ((1295, 2, 10 + WIDTH), WIDTH)
    assert manifest.name == path.stem
    classifier = teacher.get_submodule(name_classifier(teacher))
    made = torch.nn.functional.linear(torch.from_numpy(table_NVC[..., 10:]), classifier.weight, classifier.bias)
    torch.testing.assert_close(made, torch.from_numpy(table_NVC[..., :10]), rtol=1e-2, atol=2e-2)
    (said,) = [
        event.facts["bytes"] for event in events if isinstance(event, PhaseStarted) and event.phase == "labelling"
    ]
    assert said == 2 * 1295 * 2 * (10 + WIDTH)


def test_it_serves_a_run_that_compares_logits_alone_and_that_learns_the_same_from_it(wide, data, tmp_path):
    folder, _ = wide

    served = go(OF_LOGITS, tmp_path / "served", data, folder / "labels")

    alone = go(OF_LOGITS, tmp_path / "alone", data, tmp_path / "labels")
    assert ("labels_reused" in codes(served), "labels_reused" in codes(alone)) == (True, False)
    assert len(list((folder / "labels").glob("*.json"))) == 1
    one, other = student_of(tmp_path / "served", served), student_of(tmp_path / "alone", alone)
    assert all(torch.equal(one[name], other[name]) for name in one)

    # Labels without the feature do not serve a run that compares it: it writes its own.
    wider = go(OF_FEATURES, tmp_path / "wider", data, tmp_path / "labels")
    assert "labels_reused" not in codes(wider)
    assert len(list((tmp_path / "labels").glob("*.json"))) == 2
    assert "labels_reused" in codes(go(OF_FEATURES, tmp_path / "again", data, tmp_path / "labels"))


def test_tables_from_before_there_were_features_keep_their_names():
    facts = {"teacher": "7e", "dataset": "da", "plan": {"flip": True}, "views": 4, "precision": "torch.float32"}

    before = hashlib.sha256(json.dumps({"format": 2, **facts}, sort_keys=True).encode()).hexdigest()[:32]

    assert Identity(**facts).name == before
    assert Identity(**facts, pooled=64).name not in (before, Identity(**facts, pooled=32).name)


def test_the_feature_counts_when_it_is_asked_whether_a_table_has_room(data, tmp_path):
    between = 1295 * 2 * (2 * (10 + WIDTH // 2) + 4 * 4)

    with pytest.raises(LabelCacheFull, match="takes 176,120 bytes"):
        go(OF_FEATURES, tmp_path / "out", data, tmp_path / "labels", label_cache_bytes=between)

    assert not (tmp_path / "out" / "teacher.safetensors").exists()


def test_a_feature_beyond_half_precision_is_refused_in_words_and_taken_in_rounds(wide, data, tmp_path):
    model, facts = load_model(wide[0] / "teacher.safetensors")
    state = dict(model.state_dict())
    last = name_classifier(model)
    state["5.weight"], state["5.bias"] = state["5.weight"] * 1e6, state["5.bias"] * 1e6  # of the norm before it
    state[f"{last}.weight"] = state[f"{last}.weight"] / 1e6
    save_weights(state, facts, tmp_path, Path("loud.safetensors"))
    config = {**TINY, "teacher": {"job": JOB}, "objective": {"method": "sp"}}
    brought = {"teacher_files": [(tmp_path / "loud.safetensors", None)]}

    with pytest.raises(FeatureTooLarge, match=r"beyond 65,504. Mode 'guide' keeps none"):
        go({**config, "views": 2}, tmp_path / "train", data, tmp_path / "labels", **brought)

    events = go(
        {**config, "rounds": {"epochs": 1, "views": 1}},
        tmp_path / "guide",
        data,
        tmp_path / "labels",
        "guide",
        **brought,
    )
    assert [event for event in events if isinstance(event, Wrote)]
    assert not list((tmp_path / "labels").glob("*.json"))


def test_a_brought_teacher_without_such_a_feature_is_refused(data, tmp_path):
    facts = Facts(
        arch="torchvision/squeezenet1_1", classes=tuple("0123456789"), shape=(1, 8, 8), mean=(0.0,), std=(1.0,)
    )
    save_weights({}, facts, tmp_path, Path("odd.safetensors"))
    config = {**TINY, "teacher": {"job": JOB}, "objective": {"method": "rkd"}}

    with pytest.raises(SpecUnfit, match=r"objective.method rkd compares .* of the teacher, torchvision/squeezenet1_1"):
        go(config, tmp_path, data, tmp_path / "labels", teacher_files=[(tmp_path / "odd.safetensors", None)])
