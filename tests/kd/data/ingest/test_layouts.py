"""What images show is read from their folders or from a table, told back, and asked for where nothing says it."""

import json
from pathlib import Path

import pytest

from kd.data.ingest.containers import open_container
from kd.data.ingest.layouts import Layout, understand
from kd.data.ingest.listing import BadSource
from kd.data.parts import TEST, TRAIN, VALIDATION
from tests.kd.data.ingest.bringing import bring


def files(*names: str, **tables: str) -> dict[str, bytes]:
    """Images that nobody opens, and tables."""
    return {**dict.fromkeys(names, b"?"), **{name: text.encode() for name, text in tables.items()}}


def understood(place: Path, given: dict[str, bytes], classes: list[str] | None = None) -> Layout:
    return understand(open_container(bring(place, "folder", given)), classes)


def shown(layout: Layout) -> list[tuple[str, int, int]]:
    return [
        (item.name.rpartition("/")[2], int(label), item.part)
        for item, label in zip(layout.items, layout.labels_N, strict=True)
    ]


@pytest.mark.parametrize("wrapper", ["", "pets-v2/", "export/pets-v2/"])
def test_splits_hold_folders_of_classes(tmp_path: Path, wrapper: str) -> None:
    names = ["Train/dog/1.jpg", "Train/cat/2.PNG", "valid/cat/3.webp", "test/dog/4.bmp", "test/dog/more/5.tiff"]
    layout = understood(tmp_path, {**files(*(wrapper + name for name in names)), f"{wrapper}README.md": b"?"})

    assert layout.kind == "split/class/image"
    assert layout.classes == ("cat", "dog")
    assert sorted(shown(layout)) == [
        *(("1.jpg", 1, TRAIN), ("2.PNG", 0, TRAIN), ("3.webp", 0, VALIDATION), ("4.bmp", 1, TEST), ("5.tiff", 1, TEST)),
    ]
    assert str(layout) == (
        f"understood as split/class/image: 2 classes, 2 train, 1 validation, 2 test; no images: {wrapper}README.md"
    )
    assert layout.remarks == ["The folders of classes have folders of their own, whose images were taken as well."]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "VAL"])
def test_the_validation_split_has_many_names(tmp_path: Path, name: str) -> None:
    layout = understood(tmp_path, files("train/cat/1.jpg", "train/dog/2.jpg", f"{name}/cat/3.jpg"))

    assert [part for *_, part in sorted(shown(layout))] == [TRAIN, TRAIN, VALIDATION]


@pytest.mark.parametrize(
    ("names", "kind", "classes"),
    [
        (["pets/cat/1.jpg", "pets/dog/2.jpg"], "class/image", ("cat", "dog")),
        (["cat/1.jpg", "dog/2.jpg", "notes.txt"], "class/image", ("cat", "dog")),
        (["cat/1.jpg"], "class/image", ("cat",)),
        (["train/1.jpg", "bus/2.jpg", "car/3.jpg"], "class/image", ("bus", "car", "train")),
        (["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg"], "class/split/image", ("cat", "dog")),
        (["train/cat/1.jpg", "train/dog/2.jpg"], "split/class/image", ("cat", "dog")),
        (["2/1.jpg", "10/2.jpg", "1/3.jpg"], "class/image", ("1", "2", "10")),
        (["Zebra/1.jpg", "ape/2.jpg"], "class/image", ("Zebra", "ape")),
    ],
)
def test_folders_are_understood(tmp_path: Path, names: list[str], kind: str, classes: tuple[str, ...]) -> None:
    layout = understood(tmp_path, files(*names))

    assert (layout.kind, layout.classes) == (kind, classes)


METADATA = 'file_name,label,caption\n1.jpg,dog,a\nmore/2.jpg,cat,"b, c"\n'
AS_LINES = '{"file_name": "1.jpg", "label": "dog"}\n\n{"file_name": "more\\\\2.jpg", "label": "cat"}\n'


@pytest.mark.parametrize(("table", "text"), [("metadata.csv", "\ufeff" + METADATA), ("metadata.jsonl", AS_LINES)])
@pytest.mark.parametrize("folder", ["", "pets/"])
def test_a_table_beside_the_images_labels_them(tmp_path: Path, table: str, text: str, folder: str) -> None:
    names = (f"{folder}{name}" for name in ("1.jpg", "more/2.jpg", "3.jpg"))
    layout = understood(tmp_path, files(*names, **{f"{folder}{table}": text}))

    assert layout.kind == table
    assert layout.classes == ("cat", "dog")
    assert shown(layout) == [("1.jpg", 1, TRAIN), ("2.jpg", 0, TRAIN)]
    assert layout.remarks == [f"Images that no row of a table names are left out: {folder}3.jpg."]


def test_tables_may_be_in_each_split_or_name_it(tmp_path: Path) -> None:
    each = {f"{split}/metadata.csv": f"file_name,label\n{split}.jpg,cat\n" for split in ("train", "test")}
    of_each = understood(tmp_path / "a", files("train/train.jpg", "test/test.jpg", **each))
    text = "file_name,label,split\ntest/1.jpg,cat,\n2.jpg,dog,dev\n3.jpg,dog,train\n"
    of_all = understood(tmp_path / "b", files("test/1.jpg", "2.jpg", "3.jpg", **{"metadata.csv": text}))

    assert shown(of_each) == [("test.jpg", 0, TEST), ("train.jpg", 0, TRAIN)]
    assert sorted(shown(of_all)) == [("1.jpg", 0, TEST), ("2.jpg", 1, VALIDATION), ("3.jpg", 1, TRAIN)]


def test_a_column_for_each_class_labels_images(tmp_path: Path) -> None:
    tables = {
        f"{split}/_classes.csv": f"filename, cat, dog, cow\n{number}.jpg, 0, 1, 0\n{number}a.jpg, 1, 0, 0\n"
        for number, split in enumerate(("train", "valid", "test"))
    }
    names = [f"{split}/{n}{a}.jpg" for n, split in enumerate(("train", "valid", "test")) for a in ("", "a")]
    layout = understood(tmp_path, files(*names, **tables))

    assert (layout.kind, layout.classes) == ("_classes.csv", ("cat", "dog"))
    assert sorted(shown(layout)) == [
        *(("0.jpg", 1, TRAIN), ("0a.jpg", 0, TRAIN), ("1.jpg", 1, VALIDATION), ("1a.jpg", 0, VALIDATION)),
        *(("2.jpg", 1, TEST), ("2a.jpg", 0, TEST)),
    ]


# -- the order of classes ----------------------------------------------------------------------------------------


def test_the_order_of_the_classes_can_be_set(tmp_path: Path) -> None:
    by_folder = understood(tmp_path / "a", files("cat/1.jpg", "dog/2.jpg"), ["dog", "cow", "cat"])
    text = "file_name,label\n1.jpg,2\n2.jpg,1\n"
    by_number = understood(tmp_path / "b", files("1.jpg", "2.jpg", **{"metadata.csv": text}), ["dog", "cat"])

    assert (by_folder.classes, by_folder.labels_N.tolist()) == (("dog", "cow", "cat"), [2, 0])
    assert (by_number.classes, by_number.labels_N.tolist()) == (("dog", "cat"), [2, 1])  # from 1: packing sees to it


# -- what is refused ---------------------------------------------------------------------------------------------

CAT_AND_DOG = ("cat/1.jpg", "dog/2.jpg")


@pytest.mark.parametrize(
    ("given", "classes", "why"),
    [
        ({}, None, "there are no images in it; it is empty"),
        (files("a.txt", "b.md", "c.mp4", "d.doc"), None, "no images in it; it holds a.txt, b.md, c.mp4 and 1 more"),
        (files("1.jpg", "2.jpg"), None, "nothing says what 1.jpg, 2.jpg show: put the images of each class into a fo"),
        (files(*CAT_AND_DOG, "3.jpg"), None, "nothing says what 3.jpg show"),
        (files("train/1.jpg", "test/2.jpg"), None, "each split needs a folder for each class"),
        (files("train/cat/1.jpg", "test/2.jpg"), None, "nothing says what test/2.jpg show: each split needs"),
        (files("train/cat/1.jpg", "extra/3.jpg"), None, "beside the splits train there are the folders extra"),
        (files(*CAT_AND_DOG), ["cat", "cow"], "not those that were given: there is no class named 'dog'; there are"),
    ],
)
def test_images_that_nothing_labels_are_refused(
    tmp_path: Path, given: dict[str, bytes], classes: list[str] | None, why: str
) -> None:
    (tmp_path / "pets").mkdir()

    with pytest.raises(BadSource, match=why):
        understood(tmp_path, given, classes)


def line(**values: object) -> str:
    return json.dumps({"file_name": "1.jpg", "label": "cat", **values})


@pytest.mark.parametrize(
    ("table", "text", "why"),
    [
        ("metadata.csv", "", "its tables have no rows"),
        ("metadata.csv", "file_name,text\n1.jpg,cat\n", r"metadata.csv has no label; it has file_name, text\. Rename"),
        (
            "metadata.csv",
            "file_name,label\n1.jpg,cat\n9.jpg,dog\n8.jpg,dog\n",
            "line 3 .* names '9.jpg', which is not th",
        ),
        ("metadata.csv", "file_name,label\n1.jpg,cat\n1.jpg,dog\n", "line 3 of metadata.csv names '1.jpg' again"),
        ("metadata.csv", "file_name,label\n1.jpg,\n", "line 2 of metadata.csv has no label for '1.jpg'"),
        ("metadata.csv", "file_name,label\n../1.jpg,cat\n", "must be a file below the table's folder"),
        ("metadata.csv", "file_name,label\n/1.jpg,cat\n", "must be a file below the table's folder"),
        ("metadata.csv", "file_name;label\n1.jpg;cat\n", "has no file_name; it has file_name;label"),
        ("metadata.csv", "file_name,label\n1.jpg,cat,dog\n", "line 2 .* has 3 values for 2 columns"),
        ("metadata.csv", "file_name,label,label\n1.jpg,cat,dog\n", "has two columns of one name"),
        ("metadata.csv", 'file_name,label\n"1.jpg,cat\n', "line 2 of metadata.csv is no CSV"),
        ("metadata.csv", "file_name,label,split\n1.jpg,cat,tets\n", "has the split 'tets'; it may be train, training"),
        ("metadata.csv", "file_name,label\n1.jpg,-1\n", "there is a label -1; labels count from 0"),
        ("metadata.csv", "file_name,label\n\udcff,cat\n", "metadata.csv is not UTF-8 at byte 16"),
        ("metadata.jsonl", "{", "line 1 of metadata.jsonl is no JSON"),
        ("metadata.jsonl", "[" * 100_000, "line 1 of metadata.jsonl is no JSON"),
        ("metadata.jsonl", "[1]", "is no JSON object"),
        ("metadata.jsonl", line(label=1.5), "has a label that is neither a text nor a whole number"),
        ("metadata.jsonl", line(file_name=None), "has a file_name or a split that is no text"),
        ("_classes.csv", "file,cat\n1.jpg,1\n", "has no column filename; it has file, cat"),
        ("_classes.csv", "filename,cat,dog\n1.jpg,1,1\n", "says that '1.jpg' is of the classes cat, dog; it must be"),
        ("_classes.csv", "filename,cat,dog\n1.jpg,0,0\n", "says that '1.jpg' is of no class"),
        ("_classes.csv", "filename,cat,dog\n1.jpg,1,0.5\n", "it must be a 1 for one class, 0 else"),
    ],
)
def test_a_table_that_labels_nothing_is_refused(tmp_path: Path, table: str, text: str, why: str) -> None:
    given = {**files("1.jpg", "2.jpg"), table: text.encode("utf-8", "surrogateescape")}

    with pytest.raises(BadSource, match=why):
        understood(tmp_path, given)


def test_a_file_beside_the_folder_that_holds_all_says_nothing(tmp_path: Path) -> None:
    table = {"pets/new/metadata.csv": b"file_name,label\n1.jpg,cat\n2.jpg,dog\n"}

    layout = understood(tmp_path, {**files("pets/new/1.jpg", "pets/new/2.jpg"), **table, "pets/readme": b"?", "x": b""})

    assert [name for name, _, _ in shown(layout)] == ["1.jpg", "2.jpg"]
    assert layout.others == ["pets/readme", "x"]


def test_two_kinds_of_tables_are_refused(tmp_path: Path) -> None:
    tables = {"metadata.csv": "file_name,label\n1.jpg,cat\n", "_classes.csv": "filename,cat\n1.jpg,1\n"}

    with pytest.raises(BadSource, match="tables of several kinds"):
        understood(tmp_path, files("1.jpg", **tables))
