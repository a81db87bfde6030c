"""What labelling tools export beside images: COCO's JSON, CVAT's XML. Of each image one class is taken.

https://cocodataset.org/#format-data; https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree

from kd.data.ingest.listing import BadSource, some

COCO = re.compile(r"(.*[._-])?(coco|annotations?|instances?([._-].*)?)\.json")
CVAT = "annotations.xml"
_SPLIT = re.compile(r"(?:^|[^a-z])(training|train|validation|valid|val|dev|testing|test)(?![a-z])")
# What parsers of XML are attacked with. No tool that labels images writes it.
DECLARATIONS = (b"<!DOCTYPE", b"<!ENTITY")


class Labelled(NamedTuple):
    number: int  # of the image in the file, from 1
    file_name: str
    label: str
    split: str | None


def coco(source: str, table: str, content: bytes) -> Iterator[Labelled]:
    """The class of each image. Raises `BadSource` where there is none, or more than one."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadSource(source, f"{table} is no JSON ({error})") from error
    parts: list[list[dict[str, Any]]] = []
    for name in ("images", "annotations", "categories"):
        part = said.get(name) if isinstance(said, dict) else None
        if not isinstance(part, list) or not all(isinstance(one, dict) for one in part):
            raise BadSource(source, f"{table} is not COCO's: it must hold the lists images, annotations and categories")
        parts.append(part)
    images, annotations, categories = parts
    names = {_key(one.get("id")): str(one.get("name", "")).strip() for one in categories}
    labels: dict[str, set[str]] = {}
    for number, one in enumerate(annotations, 1):
        category = _key(one.get("category_id"))
        if category not in names:
            raise BadSource(
                source, f"annotation {number} of {table} is of a category {category}, which it does not name"
            )
        labels.setdefault(_key(one.get("image_id")), set()).add(names[category])
    split = split_in(table)
    for number, image in enumerate(images, 1):
        file_name = image.get("file_name")
        if not isinstance(file_name, str):
            raise BadSource(source, f"image {number} of {table} has no file_name")
        yield Labelled(
            number, file_name, _one(source, table, file_name, labels.get(_key(image.get("id")), set())), split
        )


def cvat(source: str, table: str, content: bytes) -> Iterator[Labelled]:
    """The same of `CVAT for images`: an image's tags, or else the labels of its shapes."""
    if any(mark in content for mark in DECLARATIONS):
        raise BadSource(source, f"{table} declares a document type, which CVAT does not; export it again")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise BadSource(source, f"{table} is no XML ({error})") from error
    if root.tag != "annotations":
        raise BadSource(source, f"{table} is not CVAT's: it must hold annotations, and holds {root.tag[:60]!r}")
    for number, image in enumerate(root.iter("image"), 1):
        file_name = image.get("name")
        if not file_name:
            raise BadSource(source, f"image {number} of {table} has no name")
        tags = {tag.get("label", "").strip() for tag in image.iter("tag")}
        labels = tags or {shape.get("label", "").strip() for shape in image}
        yield Labelled(
            number, file_name, _one(source, table, file_name, labels), (image.get("subset") or "").strip() or None
        )


def split_in(table: str) -> str | None:
    """The split that a file's own name is of, as in `instances_train2017.json`."""
    found = _SPLIT.search(PurePosixPath(table).stem.casefold())
    return found[1] if found else None


def _one(source: str, table: str, file_name: str, labels: set[str]) -> str:
    if len(labels) != 1:
        shows = f"the classes {some(sorted(labels))}" if labels else "no class"
        raise BadSource(
            source, f"{table} says that {file_name[:100]!r} shows {shows}; give it one, or leave the image out"
        )
    return labels.pop()


def _key(given: object) -> str:
    """Ids are numbers, and some tools write them as text."""
    return str(given)


READERS: Mapping[str, Any] = {"COCO's JSON": coco, "CVAT's XML": cvat}


def kind_of(name: str) -> str | None:
    """Whose export a file is, by its name."""
    if COCO.fullmatch(name):
        return "COCO's JSON"
    return "CVAT's XML" if name == CVAT else None
