"""Images in Parquet files as Hugging Face's `datasets` writes them: a row each, its bytes and its label.

https://huggingface.co/docs/datasets/main/en/image_dataset. Read a few rows at a time.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from kd import liveness
from kd.data import parts
from kd.data.ingest.folders import Folder
from kd.data.ingest.layouts import READ, SPLITS, Item, Layout, number
from kd.data.ingest.listing import BadSource, Entry, Limits, Listing, some
from kd.data.ingest.pages import BadPage, pages

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Schema
    from pyarrow.parquet import FileMetaData, ParquetFile

MAGIC = b"PAR1"
SUFFIX = ".parquet"
# Where the file does not say which column is which.
IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")
ROWS_AT_ONCE = 16
BUFFER_BYTES = 1 << 20
MOST_UNPACKED = 4
"""Of a page, in multiples of what it takes in the file, where that is more than an image may take."""
# `train-00000-of-00002.parquet`, or `0000.parquet` in the folder `train`.
_SPLIT = re.compile(r"[A-Za-z]+")


class Columns(NamedTuple):
    image: str
    label: str
    classes: tuple[str, ...] | None
    """The names that its numbers stand for, in their order."""


class Files(Protocol):
    """Where Parquet files may be."""

    @property
    def source(self) -> str: ...

    @property
    def entries(self) -> Sequence[Entry]: ...

    def open(self, name: str) -> IO[bytes]: ...


class Parquet:
    """The rows of some files, as a container has files: each is called `<file>#<row>`, from 0 on."""

    def __init__(self, files: Files, names: Sequence[str], limits: Limits):
        self.source = files.source
        self._files, self._listing = files, Listing(self.source, limits)
        wanted = set(names)
        self._bytes = sum(entry.size for entry in files.entries if entry.name in wanted)
        self.others = sorted(entry.name for entry in files.entries if entry.name not in wanted)
        """Files beside them."""
        self.files: dict[str, Columns] = {}
        self.entries: Sequence[Entry] = ()
        """None: how large an image is shows when it is read."""
        for name in names:
            with self._opened(name) as file:
                self._refuse_large_pages(name, file.metadata)
                self.files[name] = self._columns(name, file.schema_arrow)

    def labels(self, name: str) -> Iterator[str]:
        """What each row of a file shows. Raises `BadSource`."""
        column, classes = self.files[name].label, self.files[name].classes
        with self._opened(name) as file:
            row = 0
            for batch in file.iter_batches(batch_size=1_024, columns=[column]):
                for label in batch.column(0).to_pylist():
                    self._listing.count()
                    yield self._named(label, classes, f"{name}#{row}")
                    row += 1

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        most = self._listing.limits.most_from(self._bytes)
        unpacked = 0
        for file_name, columns in self.files.items():
            with self._opened(file_name) as file:
                row = 0
                for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=[columns.image], use_threads=False):
                    liveness.advance()  # also where they are not wanted any more
                    for content in self._contents(batch.column(0)):
                        name = f"{file_name}#{row}"
                        row += 1
                        if name not in names:
                            continue
                        if content is None:
                            raise self._listing.bad(f"{name} has no image in it; leave the row out")
                        self._listing.refuse_large(name, len(content))
                        unpacked += len(content)
                        if unpacked > most:
                            raise self._listing.too_large(f"more than {most:,} bytes")
                        yield name, content

    @contextmanager
    def _opened(self, name: str) -> Iterator["ParquetFile"]:
        """Whatever its reader raises is said in our words."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        try:
            # Not a row group at once, which may be a gigabyte.
            with (
                self._files.open(name) as content,
                ParquetFile(content, pre_buffer=False, buffer_size=BUFFER_BYTES) as file,
            ):
                yield file
        except (pa.ArrowException, BadPage, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise self._listing.damaged(error, name) from error

    def _refuse_large_pages(self, name: str, metadata: "FileMetaData") -> None:
        """Raise `BadSource` for what would take far more memory than it takes on disk."""
        with self._files.open(name) as content:
            for group in range(metadata.num_row_groups):
                liveness.advance()
                for column in range(metadata.num_columns):
                    chunk = metadata.row_group(group).column(column)
                    # 0 stands for none, as it cannot be one.
                    begin = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)), default=0)
                    for page in pages(content, begin, begin + chunk.total_compressed_size):
                        if page.unpacked > max(self._listing.limits.file_bytes, MOST_UNPACKED * page.taken):
                            raise self._listing.bad(
                                f"a page of {name} would become {page.unpacked:,} bytes from {page.taken:,}; write it "
                                "anew, with smaller pages or row groups"
                            )

    def _columns(self, name: str, schema: "Schema") -> Columns:
        features = _features(schema)
        image = self._one(
            name, schema, [each for each, kind in features.items() if kind.get("_type") == "Image"], IMAGES
        )
        label = self._one(
            name, schema, [each for each, kind in features.items() if kind.get("_type") == "ClassLabel"], LABELS
        )
        names = features.get(label, {}).get("names")
        if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
            return Columns(image, label, None)
        return Columns(image, label, tuple(names))

    def _one(self, name: str, schema: "Schema", said: Sequence[str], usual: Sequence[str]) -> str:
        """The column that is meant: the one that the file says it is, else one of a usual name."""
        found = [each for each in said if each in schema.names]
        if len(found) == 1:
            return found[0]
        for each in usual:
            if each in (found or schema.names):
                return each
        if found:
            raise self._listing.bad(f"{name} has several columns for that, {some(found)}; leave all but one out")
        raise self._listing.bad(
            f"{name} has no column {' or '.join(usual)}; it has {some(schema.names)}. Rename the one that is meant"
        )

    def _named(self, label: object, classes: tuple[str, ...] | None, name: str) -> str:
        if isinstance(label, str):
            return label.strip()
        if not isinstance(label, int) or isinstance(label, bool):
            raise self._listing.bad(f"{name} has a label that is neither a text nor a whole number: {label!r:.40}")
        if classes is None:
            return str(label)
        if not 0 <= label < len(classes):
            raise self._listing.bad(
                f"{name} has the label {label}, and there are {len(classes)} classes; leave out what is not labelled"
            )
        return classes[label]

    def _contents(self, column: "ChunkedArray") -> Iterator[bytes | None]:
        import pyarrow as pa

        if pa.types.is_struct(column.type):
            names = [column.type.field(place).name for place in range(column.type.num_fields)]
            if "bytes" not in names:
                raise self._listing.bad("its images are names of files elsewhere; embed them (`datasets` does so)")
            column = column.field("bytes")
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise self._listing.bad(f"its images are {column.type}, not the bytes of files such as JPEG")
        for value in column:
            yield value.as_py()


class _One:
    """A file by itself."""

    def __init__(self, path: Path):
        self.source, self._path = path.name, path
        self.entries = (Entry(path.name, path.stat().st_size),)

    def open(self, name: str) -> IO[bytes]:
        return open(self._path, "rb")


def find(path: Path, limits: Limits | None = None) -> Parquet | None:
    """The Parquet files of a folder, or the one at a path; None where there are none.

    Raises `BadSource`, and OSError as `open` does.
    """
    if path.is_dir():
        return find_in(Folder(path, limits or Limits()), limits)
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
    return _read_by_pyarrow(_One(path), [path.name], limits)


def find_in(files: Files, limits: Limits | None = None) -> Parquet | None:
    """Those among these files; None where there are none, or more photos, of which they are tables. `BadSource`."""
    # What lies beside images, `metadata.parquet`, has none in it.
    named = (entry.name for entry in files.entries)
    names = [name for name in named if name.endswith(SUFFIX) and not name.endswith(f"metadata{SUFFIX}")]
    photos = sum(PurePosixPath(entry.name).suffix[1:].casefold() in READ for entry in files.entries)
    return _read_by_pyarrow(files, names, limits) if len(names) > photos else None


def _read_by_pyarrow(files: Files, names: Sequence[str], limits: Limits | None) -> Parquet:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        why = "to read Parquet takes pyarrow, which is not installed here: pip install 'stillhouse[parquet]'"
        raise BadSource(files.source, why) from error
    return Parquet(files, names, limits or Limits())


def understand(tables: Parquet, classes: Sequence[str] | None = None) -> Layout:
    """The labelled images of the files. `classes`: their names in their order, if not the files' own."""
    known = {columns.classes for columns in tables.files.values()}
    if len(known) > 1:
        raise BadSource(tables.source, f"its files {some(tables.files)} name other classes; make them alike")
    items = [
        Item(f"{name}#{row}", label, part)
        for name, part in ((name, _part(name)) for name in tables.files)
        for row, label in enumerate(tables.labels(name))
    ]
    if not items:
        raise BadSource(tables.source, f"there are no rows in {some(tables.files)}")
    numbered, labels_N = number(tables.source, items, classes if classes is not None else known.pop())
    return Layout("Parquet as Hugging Face's datasets write it", items, numbered, labels_N, others=tables.others)


def _part(name: str) -> int:
    """What its name says it is for, or the folder that it is in."""
    file, *folders = reversed(name.split("/"))
    for each in (file, *folders):
        first = _SPLIT.match(each)
        if first is not None and first[0].casefold() in SPLITS:
            return SPLITS[first[0].casefold()]
    return parts.TRAIN


def _features(schema: "Schema") -> dict[str, dict[str, Any]]:
    """What `datasets` says of the columns, as far as it is what it should be."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {name: kind for name, kind in said.items() if isinstance(kind, dict)}
