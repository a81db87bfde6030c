"""Spec files and --set: what people write means what they expect, and mistakes are named with their line."""

import json

import pytest

from cli.errors import Misused
from cli.given import specs


def write(folder, text, name="spec.yaml"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_yaml_and_json_files_say_the_same(tmp_path):
    yaml_file = write(tmp_path, "mode: train\nconfig:\n  optimizer: {lr: 5e-3}\n  schedule: {milestones: [2, 4]}\n")
    json_file = write(tmp_path, '{"mode": "train", "config": {"optimizer": {"lr": 0.005}, "schedule": '
                                '{"milestones": [2, 4]}}}', "spec.json")  # fmt: skip

    assert specs.assemble(yaml_file, None, []) == specs.assemble(json_file, None, [])


@pytest.mark.parametrize(
    ("written", "meant"),
    [("5e-4", 5e-4), ("no", "no"), ("2026-01-01", "2026-01-01"), ("010", "010"), ("null", None), ("true", True),
     ("[1, 2]", [1, 2]), ("'3'", "3"), ("-3", -3), ("all", "all")],
)  # fmt: skip
def test_a_value_is_read_as_json_would_with_bare_words_as_text(written, meant):
    assert specs.assemble(None, "train", [f"config.views={written}"])["config"]["views"] == meant


def test_settings_reach_into_the_spec_and_win_over_the_file(tmp_path):
    file = write(tmp_path, "mode: train\nconfig: {epochs: 3, student: {arch: mlp}}")

    spec = specs.assemble(file, "guide", ["config.student.arch=cnn_small", "config.rounds.epochs=2"])

    assert spec == {
        "mode": "guide",
        "config": {"epochs": 3, "student": {"arch": "cnn_small"}, "rounds": {"epochs": 2}},
    }


def test_a_mode_alone_is_a_spec():
    assert specs.assemble(None, "train", []) == {"mode": "train", "config": {}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mode: train\nconfig:\n  epochs: 3\n  epochs: 4\n", "line 4: epochs is given twice"),
        ("mode: [train\n", "line 2"),
        ("- a list\n", "holds no spec"),
        ("", "holds no spec"),
        ("mode: train\nconfig: !!binary aGk=\n", "something that JSON cannot"),
        ("mode: train\nconfig: {epochs: 1e999}\n", "something that JSON cannot"),
        ("mode: !!python/object/apply:os.getcwd []\n", "line 1"),
    ],
)
def test_a_file_that_is_no_spec_is_refused_with_its_place(tmp_path, text, says):
    with pytest.raises(Misused, match=says):
        specs.assemble(write(tmp_path, text), None, [])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Misused, match=r"nowhere\.yaml: No such file"):
        specs.assemble(str(tmp_path / "nowhere.yaml"), None, [])


@pytest.mark.parametrize("setting", ["config.epochs", "=3", "config..epochs=3", "mode.arch=x", "config.epochs=[1"])
def test_a_setting_that_makes_no_sense_is_refused(setting):
    with pytest.raises(Misused, match="--set"):
        specs.assemble(None, "train", [setting])


def test_labels_are_text_and_join_those_of_the_file():
    spec = {"labels": {"team": "vision"}}

    specs.put_over(spec, "labels", specs.pairs(["run=3", "note=a=b"]))

    assert spec == {"labels": {"team": "vision", "run": "3", "note": "a=b"}}
    assert json.dumps(spec)


def test_labels_that_the_file_has_wrong_are_refused_before_they_are_joined():
    with pytest.raises(Misused, match="labels in the spec must be a mapping"):
        specs.put_over({"labels": ["vision"]}, "labels", {"run": "3"})
    with pytest.raises(Misused, match="name=value"):
        specs.pairs(["vision"])
