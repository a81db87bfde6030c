"""What labelling tools export: COCO's JSON and CVAT's XML, of each image one class."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd.data.ingest.listing import BadSource
from kd.data.parts import TEST, TRAIN, VALIDATION
from tests.kd.data.ingest.test_layouts import files, shown, understood

CATEGORIES = [{"id": 0, "name": "pets"}, {"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]


def coco(labels: dict[str, list[int]], **other: Any) -> str:
    """A file that says of each image which categories it shows."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(labels)]
    annotations = [
        {"image_id": number, "category_id": category}
        for number, categories in enumerate(labels.values())
        for category in categories
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | other)


def cvat(*images: str) -> str:
    return f'<?xml version="1.0"?><annotations><version>1.1</version>{"".join(images)}</annotations>'


def test_a_name_that_is_none_is_the_name_of_nothing(tmp_path: Path) -> None:
    given = {**files("1.jpg"), "_annotations.coco.json": coco({"1.jpg": [1], ".": [7]}).encode()}

    with pytest.raises(BadSource, match=r"names '\.', which is not there"):
        understood(tmp_path, given)


def test_roboflow_writes_coco_into_each_split(tmp_path: Path) -> None:
    given = {
        "pets/train/_annotations.coco.json": coco({"1.jpg": [1, 1], "2.jpg": [7]}),
        "pets/valid/_annotations.coco.json": coco({"1.jpg": [7]}),
        "pets/test/_annotations.coco.json": coco({"3.jpg": [1]}),
    }
    names = ["pets/train/1.jpg", "pets/train/2.jpg", "pets/valid/1.jpg", "pets/test/3.jpg"]
    layout = understood(tmp_path, {**files(*names), **{name: text.encode() for name, text in given.items()}})

    assert (layout.kind, layout.classes) == ("COCO's JSON", ("cat", "dog"))
    assert sorted(shown(layout)) == [
        *(("1.jpg", 0, TRAIN), ("1.jpg", 1, VALIDATION), ("2.jpg", 1, TRAIN), ("3.jpg", 0, TEST)),
    ]


def test_coco_itself_has_the_images_of_each_split_elsewhere(tmp_path: Path) -> None:
    given = {
        "annotations/instances_train2017.json": coco({"1.jpg": [1], "2.jpg": [7]}),
        "annotations/instances_val2017.json": coco({"1.jpg": [7]}),
    }
    names = ["train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg"]
    layout = understood(tmp_path, {**files(*names), **{name: text.encode() for name, text in given.items()}})

    assert sorted(shown(layout)) == [("1.jpg", 0, TRAIN), ("1.jpg", 1, VALIDATION), ("2.jpg", 1, TRAIN)]


def test_cvat_says_it_by_a_tag_or_by_the_one_label_of_all_shapes(tmp_path: Path) -> None:
    said = cvat(
        '<image id="0" name="1.jpg" subset="Train"><tag label="cat" source="manual"/><box label="ear"/></image>',
        '<image id="1" name="sub/2.jpg" subset="Test"><box label="dog" xtl="1"/><polygon label="dog"/></image>',
    )
    layout = understood(tmp_path, files("images/1.jpg", "images/sub/2.jpg", **{"annotations.xml": said}))

    assert (layout.kind, layout.classes) == ("CVAT's XML", ("cat", "dog"))
    assert sorted(shown(layout)) == [("1.jpg", 0, TRAIN), ("2.jpg", 1, TEST)]


@pytest.mark.parametrize(
    ("table", "said", "why"),
    [
        ("a.coco.json", "{", "a.coco.json is no JSON"),
        ("a.coco.json", "[]", "is not COCO's: it must hold the lists images, annotations and categories"),
        ("a.coco.json", coco({"1.jpg": [1]}, images=[3]), "is not COCO's"),
        ("a.coco.json", coco({"1.jpg": [1, 7]}), "says that '1.jpg' shows the classes cat, dog; give it one"),
        ("a.coco.json", coco({"1.jpg": []}), "says that '1.jpg' shows no class; give it one, or leave the image out"),
        ("a.coco.json", coco({"1.jpg": [9]}), "annotation 1 of a.coco.json is of a category 9, which it does not name"),
        ("a.coco.json", coco({"1.jpg": [1]}, images=[{"id": 0}]), "image 1 of a.coco.json has no file_name"),
        ("a.coco.json", coco({"4.jpg": [1]}), "image 1 of a.coco.json names '4.jpg', which is not there"),
        ("a.coco.json", coco({"../1.jpg": [1]}), "it must be a file below the table's folder"),
        ("a.coco.json", coco({"2.jpg": [1]}), "and that may be x/2.jpg, y/2.jpg; name the folder there as well"),
        ("annotations.xml", "<annotations>", "annotations.xml is no XML"),
        ("annotations.xml", "<html/>", "is not CVAT's: it must hold annotations, and holds 'html'"),
        ("annotations.xml", cvat("<image><tag label='cat'/></image>"), "image 1 of annotations.xml has no name"),
        ("annotations.xml", cvat("<image name='1.jpg'/>"), "says that '1.jpg' shows no class"),
        ("annotations.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares a document type"),
        ("annotations.xml", cvat(), "its tables have no rows"),
    ],
)
def test_what_does_not_say_one_class_of_each_image_is_refused_with_the_image(
    tmp_path: Path, table: str, said: str, why: str
) -> None:
    with pytest.raises(BadSource) as refused:
        understood(tmp_path, files("1.jpg", "x/2.jpg", "y/2.jpg", **{table: said}))

    assert why in str(refused.value)
