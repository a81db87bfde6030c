"""How files say what they show: by the folders that they lie in, or by a table beside them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd import nearest
from kd.data import parts
from kd.data.ingest import tables
from kd.data.ingest.containers import Container
from kd.data.ingest.listing import BadSource, some

SPLITS = {
    "train": parts.TRAIN,
    "training": parts.TRAIN,
    "val": parts.VALIDATION,
    "valid": parts.VALIDATION,
    "validation": parts.VALIDATION,
    "dev": parts.VALIDATION,
    "test": parts.TEST,
    "testing": parts.TEST,
}
# Meant as images, read or not: those that are not are told why when they are opened.
READ = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff"})
NOT_READ = frozenset(
    {
        *("apng", "gif", "svg", "svgz", "heic", "heif", "avif", "jp2", "jxl", "ico", "psd", "ai", "eps", "pdf", "ppm"),
        *("pgm", "pbm", "tga", "exr", "hdr", "dng", "cr2", "cr3", "nef", "arw", "raf", "orf"),
    }
)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)

Path = tuple[str, ...]

# Shapes: N = images.


class Item(NamedTuple):
    """An image that is labelled."""

    name: str  # as the container has it
    label: str
    part: int  # a number of `kd.data.parts`


@dataclass(frozen=True)
class Layout:
    kind: str
    items: Sequence[Item]
    classes: tuple[str, ...]
    labels_N: NDArray[np.int64]  # the place of each item's label among the classes, or the number that it is
    others: Sequence[str]  # files that are no images
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        counts = Counter(item.part for item in self.items)
        sizes = ", ".join(f"{counts[part]:,} {name}" for part, name in parts.NAMES.items() if counts[part])
        no_images = f"; no images: {some(self.others)}" if self.others else ""
        return f"understood as {self.kind}: {len(self.classes)} classes, {sizes}{no_images}"


def understand(container: Container, classes: Sequence[str] | None = None) -> Layout:
    """The labelled images of a container. `classes`: their names in their order, which is else that of the alphabet.

    Raises `BadSource` where it cannot be told what an image shows.
    """
    paths = {entry.name: tuple(entry.name.split("/")) for entry in container.entries}
    found = [name for name in paths if tables.kind_of(name)]
    images = [name for name in paths if PurePosixPath(name).suffix[1:].casefold() in READ | NOT_READ]
    if not images:
        held = f"it holds {some(paths)}" if paths else "it is empty"
        if any(name.endswith(".parquet") for name in paths):
            held += "; Parquet is read as it is, from a folder or from a zip, so unpack it first"
        raise BadSource(container.source, f"there are no images in it; {held}")
    wrapper = _wrapper([paths[name] for name in images], [paths[name] for name in found])
    around = paths[images[0]][:wrapper]  # what is no image may lie elsewhere, and says nothing
    inner = {name: path[wrapper:] for name, path in paths.items() if path[:wrapper] == around and len(path) > wrapper}
    remarks = []
    if found:
        kinds = {tables.kind_of(name) or "" for name in found}
        if len(kinds) > 1:
            raise BadSource(container.source, f"it has tables of several kinds, {some(kinds)}; leave all but one out")
        rows = (row for name, content in container.read(found) for row in tables.read(container.source, name, content))
        kind = kinds.pop()
        items = _by_table(container.source, rows, {path: name for name, path in inner.items()}, wrapper)
        named = {item.name for item in items}
        if unnamed := [name for name in images if name not in named]:
            remarks.append(f"Images that no row of a table names are left out: {some(unnamed)}.")
    else:
        kind, items = _by_folder(container.source, {name: inner[name] for name in images})
        if any(len(inner[item.name]) > kind.count("/") + 1 for item in items):
            remarks.append("The folders of classes have folders of their own, whose images were taken as well.")
    known, labels_N = number(container.source, items, classes)
    others = sorted(paths.keys() - {*images, *found})
    return Layout(kind, items, known, labels_N, others, remarks)


def _wrapper(images: list[Path], found: list[Path]) -> int:
    """How many folders around it all say nothing."""
    depth = 0
    while True:
        tops = {path[depth] for path in [*images, *found]}
        (top, *more) = tops
        holds_table = any(len(path) == depth + 2 for path in found)
        if more or top.casefold() in SPLITS or not (holds_table or all(len(path) > depth + 2 for path in images)):
            return depth
        depth += 1


# -- by folders --------------------------------------------------------------------------------------------------


def _by_folder(source: str, images: dict[str, Path]) -> tuple[str, list[Item]]:
    shallow = [name for name, path in images.items() if len(path) == 1]
    if shallow:
        raise BadSource(
            source,
            f"nothing says what {some(shallow)} show: put the images of each class into a folder with its name, or "
            "bring a metadata.csv with the columns file_name and label",
        )
    tops = {path[0] for path in images.values()}
    splits = {top for top in tops if top.casefold() in SPLITS}
    deep = {path[0] for path in images.values() if len(path) > 2}
    if splits == tops and (deep or len(tops) > 1):
        if lost := [name for name, path in images.items() if len(path) == 2]:
            raise BadSource(
                source,
                f"nothing says what {some(lost)} show: each split needs a folder for each class; leave out "
                "what is not labelled",
            )
        return "split/class/image", [Item(name, path[1], SPLITS[path[0].casefold()]) for name, path in images.items()]
    if splits & deep:
        raise BadSource(
            source,
            f"beside the splits {some(splits)} there are the folders {some(tops - splits)}: bring either splits with "
            "folders of classes, or folders of classes",
        )
    if all(len(path) > 2 and path[1].casefold() in SPLITS for path in images.values()):
        return "class/split/image", [Item(name, path[0], SPLITS[path[1].casefold()]) for name, path in images.items()]
    return "class/image", [Item(name, path[0], parts.TRAIN) for name, path in images.items()]


# -- by tables ---------------------------------------------------------------------------------------------------


def _by_table(source: str, rows: Iterable[tables.Row], files: dict[Path, str], wrapper: int) -> list[Item]:
    items: dict[str, Item] = {}
    lost, missing = None, 0
    ends: dict[str, list[Path]] = {}
    for each in files:
        ends.setdefault(each[-1], []).append(each)
    for row in rows:
        path = (*PurePosixPath(row.table).parts[wrapper:-1], *PurePosixPath(row.file_name).parts)
        if path not in files and row.lies_anywhere:
            path = _whose_name_ends_so(source, row, ends) or path
        name = files.get(path)
        if name is None:
            lost, missing = lost or row, missing + 1
            continue
        if name in items:
            raise BadSource(source, f"{row} names {row.file_name!r} again; leave one of the rows out")
        given = row.split or path[0]
        if row.split and given.casefold() not in SPLITS:
            raise BadSource(source, f"{row} has the split {given!r}; it may be {', '.join(SPLITS)}")
        items[name] = Item(name, row.label, SPLITS.get(given.casefold(), parts.TRAIN))
    if lost is not None:
        more = f", nor are those of {missing - 1:,} other rows" if missing > 1 else ""
        raise BadSource(source, f"{lost} names {lost.file_name!r}, which is not there{more}")
    if not items:
        raise BadSource(source, "its tables have no rows")
    return sorted(items.values())


def _whose_name_ends_so(source: str, row: tables.Row, ends: dict[str, list[Path]]) -> Path | None:
    """The one file whose path ends with the row's name; of several the one in a folder of the row's split."""
    wanted = PurePosixPath(row.file_name).parts
    found = [path for path in ends.get(wanted[-1], ()) if path[-len(wanted) :] == wanted] if wanted else []
    if len(found) > 1 and row.split:
        found = [path for path in found if any(part.casefold().startswith(row.split) for part in path[:-1])] or found
    if len(found) > 1:
        named = some("/".join(path) for path in found)
        raise BadSource(
            source, f"{row} names {row.file_name!r}, and that may be {named}; name the folder there as well"
        )
    return found[0] if found else None


# -- classes -----------------------------------------------------------------------------------------------------


def number(source: str, items: list[Item], classes: Sequence[str] | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes in their order, which is else that of the alphabet, and each item's among them. Raises `BadSource`.

    Where the labels are numbers and the classes are named, they stay these numbers: whether they fit, and whether they
    begin at 1, whoever packs them knows.
    """
    labels = {item.label for item in items}
    are_numbers = all(map(_WHOLE_NUMBER.fullmatch, labels))
    if are_numbers and (negative := [label for label in labels if label.startswith("-")]):
        raise BadSource(source, f"there is a label {negative[0]}; labels count from 0: leave out what is not labelled")
    if classes is None:
        classes = sorted(labels, key=int if are_numbers else None)
    elif not labels <= set(classes):
        if are_numbers:
            return tuple(classes), np.array([int(item.label) for item in items], np.int64)
        strange = min(labels - set(classes))
        raise BadSource(
            source, f"its classes are not those that were given: {nearest.unknown('class', strange, classes)}"
        )
    place = {label: number for number, label in enumerate(classes)}
    return tuple(classes), np.array([place[item.label] for item in items], np.int64)
