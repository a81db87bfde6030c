"""What a spec may say of views, and what of it cannot be meant."""

import json

import pytest
from pydantic import ValidationError

from kd.spec import faults, parse
from kd.training.run import plan_of
from kd.views.boxes import Boxes

BOXED = {"resized_crop": {}}


def config_of(mode: str = "train", **config):
    return parse(json.dumps({"mode": mode, "config": {"dataset": "cifar10", **config}})).config


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_boxes_are_not_padded_and_are_torchvisions_until_it_is_said_otherwise(mode):
    config = config_of(mode, augmentation={"resized_crop": {"ratio": [1, 1]}})

    assert (config.augmentation.crop_padding, config.augmentation.flip) == (0, True)
    assert plan_of(config.augmentation).resized_crop == Boxes((0.08, 1.0), (1.0, 1.0))
    assert config.augmentation.endless
    assert plan_of(config.augmentation).endless
    assert parse(json.dumps({"mode": mode, "config": config.model_dump(mode="json")})).config == config


def test_who_asks_for_another_size_gets_no_padding_by_default():
    assert config_of(input_size=64).augmentation.crop_padding == 0
    assert config_of(input_size=32).augmentation.crop_padding == 4, "that is their own size"


def test_the_control_may_have_crops_where_the_student_has_boxes_and_boxes_where_it_has_crops():
    boxes = config_of(control={"augmentation": BOXED}).control.augmentation
    crops = config_of(augmentation=BOXED, control={"augmentation": {"crop_padding": 2}}).control.augmentation

    assert (boxes.crop_padding, boxes.flip) == (0, True)
    assert (crops.crop_padding, crops.resized_crop) == (2, None)


OTHER_SIZE = "crop_padding must be 0 with an input_size of 64, since crops after padding are as large as the images"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"augmentation": BOXED | {"crop_padding": 2}}, "crop_padding must be 0 with resized_crop"),
        ({"augmentation": {"resized_crop": {"scale": [0.5, 0.2]}}}, "scale must be two numbers from 0.001 to 1"),
        ({"augmentation": {"resized_crop": {"scale": [1, 1]}}}, "scale must begin below 1"),
        ({"augmentation": {"resized_crop": {"ratio": [0, 1]}}}, "ratio must be two numbers from 0.1 to 10"),
        ({"augmentation": {"resized_crop": {"scale": [0.5]}}}, "scale/1 is missing"),
        ({"augmentation": {"resized_crop": {"scale": ["0.5", 1]}}}, 'scale/0 should be a number, not "0.5"'),
        ({"augmentation": {"resized_crop": True}}, "resized_crop should be an object, not true"),
        ({"augmentation": {"resized_crop": {"size": 9}}}, "resized_crop/size there is no such field"),
        ({"augmentation": BOXED, "views": "all"}, "strong, mixed and resized views have no end"),
        ({"input_size": 7}, "input_size should be greater than or equal to 8"),
        ({"input_size": 64, "augmentation": {"crop_padding": 4}}, f" augmentation.{OTHER_SIZE}"),
        ({"input_size": 64, "control": {"augmentation": {"crop_padding": 1}}}, f"control.augmentation.{OTHER_SIZE}"),
        (
            {"input_size": 64, "teacher": {"augmentation": {"crop_padding": 1, "flip": True}}},
            f"teacher.augmentation.{OTHER_SIZE}",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(config, why):
    given = {"mode": "train", "config": {"dataset": "cifar10", **config}}

    with pytest.raises(ValidationError) as refused:
        parse(json.dumps(given))

    (found,) = faults.find(refused.value.errors(include_url=False), given)
    assert why in f"{found.pointer} {found.message}"


def test_a_packed_data_set_whose_images_have_another_size_takes_no_padding():
    config = config_of(dataset="packed/mine", input_size=64, augmentation={"crop_padding": 4})

    (unfit,) = config.misfits(10, (3, 73, 73), images=100, own_validation=False)

    assert unfit[0] == "augmentation.crop_padding"
    assert "of packed/mine, 73×73 pixels" in unfit[1]
    assert list(config.misfits(10, (3, 64, 64), images=100, own_validation=False)) == []
