"""What a spec may say of the control and the baselines."""

import json

import pytest
from pydantic import ValidationError

from kd.spec import parse

ADAM = {"name": "adamw", "lr": 0.002, "weight_decay": 0.01}


def config_of(**config):
    return parse(json.dumps({"mode": "train", "config": {"dataset": "digits", **config}})).config


@pytest.mark.parametrize("control", [True, False])
def test_a_control_that_is_no_object_stays_what_it_was(control):
    config = config_of(control=control)

    assert config.control is control
    assert config.of_control() == config
    assert config_of(**config.model_dump(mode="json")) == config


def test_what_the_control_leaves_out_is_the_student_s_and_is_shown():
    config = config_of(
        optimizer=ADAM,
        schedule={"warmup_epochs": 2},
        augmentation={"crop_padding": 2, "strong": 2, "magnitude": 5},
        control={"optimizer": {"lr": 0.0005}, "augmentation": {"strong": 0}},
    )

    assert config.control.optimizer.model_dump() == config.optimizer.model_dump() | {"lr": 0.0005}
    assert config.control.augmentation.model_dump() == config.augmentation.model_dump() | {"strong": 0, "magnitude": 9}
    alone = config.of_control()
    assert (alone.schedule, alone.batch_size, alone.epochs) == (config.schedule, config.batch_size, config.epochs)
    assert alone.optimizer.lr == 0.0005
    assert config_of(**config.model_dump(mode="json")) == config, "what is printed is read as it was"


def test_another_optimizer_has_its_own_numbers():
    config = config_of(optimizer={"momentum": 0.8, "nesterov": True, "lr": 0.1}, control={"optimizer": ADAM})

    assert config.control.optimizer.momentum == 0.9, "its default, which adamw has no use for"
    assert config.control.optimizer.lr == 0.002


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"control": {"optimizer": {"name": "adam", "nesterov": True}}}, "nesterov would do nothing"),
        ({"control": {"batch_size": 8}, "gradient_accumulation": 5, "batch_size": 64}, "control.batch_size must be at"),
        ({"control": {"schedule": {"warmup_epochs": 5}}, "epochs": 5}, "control.schedule: the warm-up must end before"),
        ({"control": {"augmentation": {"crop_padding": 5}}}, "control.augmentation.crop_padding must be at most 4"),
        ({"control": {"epochs": 5}}, "Extra inputs"),
        ({"control": 1}, "should be a valid boolean"),
        ({"control": False, "baselines": {"label_smoothing": 0.1}}, "baselines would do nothing here"),
        ({"baselines": {"label_smoothing": 0}}, "greater than 0"),
        ({"baselines": {"label_smoothing": 1.0}}, "less than 1"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"seeds": 33}, "less than or equal to 32"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(config, why):
    with pytest.raises(ValidationError, match=why):
        config_of(**config)
