"""Tables of labels beside images: `metadata.csv` and `metadata.jsonl` (Hugging Face's imagefolder), `_classes.csv`
(Roboflow's, a column for each class), and what labelling tools export (`annotations.py`)."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, TextIO

from kd.data.ingest import annotations
from kd.data.ingest.listing import BadSource, some

MOST_BYTES = 1 << 26
NAMES = ("metadata.csv", "metadata.jsonl", "_classes.csv")


def kind_of(name: str) -> str | None:
    """What kind of table a file is, by its whole name; None if it is none."""
    own = PurePosixPath(name).name.casefold()
    return own if own in NAMES else annotations.kind_of(own)


class Row(NamedTuple):
    table: str  # its whole name
    line: int
    file_name: str  # from the table's folder on
    label: str
    split: str | None = None
    unit: str = "line"
    lies_anywhere: bool = False
    """Its file need not lie below the table's folder: it is the one whose name ends so."""

    def __str__(self) -> str:
        return f"{self.unit} {self.line} of {self.table}"


def read(source: str, table: str, content: bytes) -> Iterator[Row]:
    """The rows of a table. Raises `BadSource` at the first that labels no image."""
    if len(content) > MOST_BYTES:
        raise BadSource(
            source, f"{table} is larger than {MOST_BYTES:,} bytes; leave out the columns that label nothing"
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise BadSource(source, f"{table} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    lines = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    readers = {"metadata.csv": _metadata_csv, "metadata.jsonl": _metadata_jsonl, "_classes.csv": _one_hot}
    kind = kind_of(table) or ""
    for row in readers[kind](source, table, lines) if kind in NAMES else _exported(kind, source, table, content):
        if not row.label:
            raise BadSource(source, f"{row} has no label for {row.file_name!r}; leave the row out, or label it")
        # As names are in the listing; tables are also made on Windows.
        name = unicodedata.normalize("NFC", row.file_name).replace("\\", "/")
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise BadSource(source, f"{row} names {row.file_name!r}; it must be a file below the table's folder")
        yield row._replace(file_name=name, label=unicodedata.normalize("NFC", row.label))


def _exported(kind: str, source: str, table: str, content: bytes) -> Iterator[Row]:
    for one in annotations.READERS[kind](source, table, content):
        yield Row(table, one.number, one.file_name, one.label, one.split, "image", lies_anywhere=True)


def _metadata_csv(source: str, table: str, lines: TextIO) -> Iterator[Row]:
    for line, values in _csv(source, table, lines):
        _require(source, table, values)
        yield Row(table, line, values["file_name"], values["label"].strip(), values.get("split", "").strip() or None)


def _metadata_jsonl(source: str, table: str, lines: TextIO) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadSource(source, f"line {number} of {table} is no JSON ({error})") from error
        if not isinstance(values, dict):
            raise BadSource(source, f"line {number} of {table} is no JSON object")
        _require(source, table, values)
        name, label, split = values["file_name"], values["label"], values.get("split")
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise BadSource(source, f"line {number} of {table} has a label that is neither a text nor a whole number")
        if not isinstance(name, str) or not isinstance(split, str | None):
            raise BadSource(source, f"line {number} of {table} has a file_name or a split that is no text")
        yield Row(table, number, name, str(label).strip(), split)


def _one_hot(source: str, table: str, lines: TextIO) -> Iterator[Row]:
    for line, values in _csv(source, table, lines):
        if "filename" not in values:
            raise BadSource(source, f"{table} has no column filename; it has {some(values)}")
        name = values.pop("filename")
        ones = [label for label, value in values.items() if value.strip() == "1"]
        if len(ones) != 1 or any(value.strip() not in ("0", "1") for value in values.values()):
            showing = f"of the classes {some(ones)}" if ones else "of no class"
            raise BadSource(
                source, f"line {line} of {table} says that {name!r} is {showing}; it must be a 1 for one class, 0 else"
            )
        yield Row(table, line, name, ones[0])


def _csv(source: str, table: str, lines: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by the names of their columns, with the line on which each ends."""
    reader = csv.reader(lines, strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        if len(set(columns)) < len(columns):
            raise BadSource(source, f"{table} has two columns of one name; it has {some(columns)}")
        for values in reader:
            if not values:
                continue
            if len(values) != len(columns):
                what = f"line {reader.line_num} of {table} has {len(values)} values for {len(columns)} columns"
                raise BadSource(source, f"{what}; separate them by commas, and quote those that have one")
            yield reader.line_num, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise BadSource(source, f"line {reader.line_num} of {table} is no CSV ({error})") from error


def _require(source: str, table: str, values: dict[str, str]) -> None:
    for column in ("file_name", "label"):
        if column not in values:
            raise BadSource(
                source,
                f"{table} has no {column}; it has {some(values)}. Rename the column that is meant, or leave the table "
                "out where folders say the classes",
            )
