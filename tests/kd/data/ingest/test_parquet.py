"""Parquet as Hugging Face's datasets write it: understood from what it says of itself, or refused in a sentence."""

import contextlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kd.data import packed_facts, packed_images
from kd.data.ingest.add import add
from kd.data.ingest.listing import BadSource, Limits
from kd.data.packed_facts import PackedFacts
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import KdError
from tests.kd.data.ingest.photos import encoded, photo

NAME = "packed/pets"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["owl", "cat", "dog"], "_type": "ClassLabel"}}


def rows(labels: list[Any], first: int = 0, **columns: Any) -> dict[str, Any]:
    images = [{"bytes": encoded(photo(first + place), "JPEG"), "path": f"{place}.jpg"} for place in range(len(labels))]
    return {"image": pa.array(images, IMAGE), "label": pa.array(labels)} | columns


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = FEATURES, **how: Any) -> None:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **how)


def added(place: Path, path: Path, **options: Any) -> tuple[PackedFacts, list[str]]:
    told: list[str] = []
    return add(place / "data", NAME, path, tell=told.append, **options), told


def zipped(folder: Path, method: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for each in sorted(folder.rglob("*.parquet")):
            archive.write(each, each.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_splits_are_named_by_the_files_and_classes_by_what_they_say_of_themselves(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "pets" / "data" / "train-00000-of-00002.parquet", rows([0, 1, 2, 0, 1, 2]), row_group_size=4)
    write(tmp_path / "pets" / "data" / "train-00001-of-00002.parquet", rows([0, 1, 2], 10), compression="zstd")
    write(tmp_path / "pets" / "data" / "test-00000-of-00001.parquet", rows([2, 1, 0], 20))
    write(tmp_path / "pets" / "validation" / "0000.parquet", rows([2, 1, 0], 30))

    source = tmp_path / "pets" if kind == "folder" else zipped(tmp_path / "pets")
    facts, told = added(tmp_path, source)

    assert (
        told[0] == f"{source.name} is understood as Parquet as Hugging Face's datasets write it: 3 classes, 9 train, "
        "3 validation, 3 test."
    )
    assert facts.classes == ("owl", "cat", "dog"), "their own order"
    packed = packed_images.read(tmp_path / "data", NAME)
    for part, labels in ((TRAIN, [0, 1, 2] * 3), (TEST, [2, 1, 0]), (VALIDATION, [2, 1, 0])):
        assert packed.labels[packed.split == part].tolist() == labels
    assert np.abs(packed.images[0].astype(int) - photo(20)).max() < 40, "the first file's first, through JPEG"


def test_one_file_without_a_word_of_itself_has_an_image_and_a_label(tmp_path: Path) -> None:
    write(tmp_path / "pets.parquet", rows(["cat", "dog"] * 4), features=None)

    facts, told = added(tmp_path, tmp_path / "pets.parquet", size=8, classes=["dog", "cat"])

    assert (facts.classes, facts.shape, facts.train) == (("dog", "cat"), (3, 8, 8), 8)
    assert "pets.parquet is understood as Parquet" in told[0]


def test_of_several_classes_the_usual_one_is_taken_and_bytes_need_no_struct(tmp_path: Path) -> None:
    features = {
        "img": {"_type": "Image"},
        "fine_label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "coarse_label": {"names": ["pet"], "_type": "ClassLabel"},
    }
    images = pa.array([encoded(photo(place)) for place in range(6)], pa.large_binary())
    columns = {"img": images, "coarse_label": pa.array([0] * 6), "fine_label": pa.array([0, 1] * 3)}
    write(tmp_path / "train.parquet", columns, features)

    facts, _ = added(tmp_path, tmp_path / "train.parquet")

    assert facts.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("columns", "features", "why"),
    [
        (rows([0, 1, -1, 0]), FEATURES, "#2 has the label -1, and there are 3 classes; leave out what is not labelled"),
        (rows([0, 1, 9, 0]), FEATURES, "#2 has the label 9, and there are 3 classes"),
        (rows([0.5, 1.0]), None, "#0 has a label that is neither a text nor a whole number"),
        (rows([None, 1]), None, "#0 has a label that is neither a text nor a whole number: None"),
        (
            {"picture": pa.array([b"x"]), "label": pa.array([0])},
            None,
            "has no column image or img; it has picture, label",
        ),
        ({"image": rows([0])["image"], "kind": pa.array([0])}, None, "has no column label or labels or fine_label"),
        (
            {"image": pa.array(["a.jpg"] * 6), "label": pa.array([0, 1] * 3)},
            None,
            "its images are string, not the bytes",
        ),
        (rows([0, 1] * 3, image=pa.array([None] * 6, IMAGE)), None, "#0 has no image in it; leave the row out"),
        (rows([0, 1] * 3, image=pa.array([{"path": "a"}] * 6, pa.struct([("path", pa.string())]))), None, "embed them"),
        (rows([]) | {"label": pa.array([], pa.int64())}, None, "there are no rows in pets.parquet"),
        (rows([0, 1] * 3, image=pa.array([{"bytes": b"no image", "path": ""}] * 6, IMAGE)), None, "pets.parquet#0"),
    ],
)
def test_what_is_no_data_set_of_images_is_refused_with_the_row_or_the_column(
    tmp_path: Path, columns: dict[str, Any], features: dict[str, Any] | None, why: str
) -> None:
    write(tmp_path / "pets.parquet", columns, features)

    with pytest.raises(KdError) as refused:
        added(tmp_path, tmp_path / "pets.parquet")

    assert why in str(refused.value)
    assert not packed_facts.names(tmp_path / "data")


def test_it_costs_no_more_than_is_allowed(tmp_path: Path) -> None:
    write(tmp_path / "pets.parquet", rows(["cat", "dog"] * 4), features=None)
    large = max(len(encoded(photo(place), "JPEG")) for place in range(8))

    for limits, why in (
        (Limits(files=5), "holds more than 5 files"),
        (Limits(file_bytes=large - 1), f"is larger than {large - 1:,} bytes"),
        (Limits(unpacked_bytes=large), f"it unpacks to more than {large:,} bytes"),
    ):
        with pytest.raises(BadSource, match=why):
            added(tmp_path, tmp_path / "pets.parquet", limits=limits)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_table_beside_photos_does_not_make_them_a_table(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "pets" / "notes.parquet", {"who": pa.array(["somebody"])}, features=None)
    for number in range(4):
        for place, animal in enumerate(("cat", "dog")):
            (tmp_path / "pets" / animal).mkdir(exist_ok=True)
            (tmp_path / "pets" / animal / f"{number}.png").write_bytes(encoded(photo(10 * place + number)))
    source = tmp_path / "pets"
    if kind == "zip":
        source = Path(shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "pets"))

    facts, told = added(tmp_path, source)

    assert facts.classes == ("cat", "dog")
    assert "no images: pets/notes.parquet" in told[0] or "no images: notes.parquet" in told[0]


def test_files_beside_tables_are_told_of(tmp_path: Path) -> None:
    write(tmp_path / "pets" / "a.parquet", rows(["cat", "dog"] * 4), features=None)
    (tmp_path / "pets" / "README.md").write_text("?")
    (tmp_path / "pets" / "preview.png").write_bytes(encoded(photo(1)))
    write(tmp_path / "pets" / "b.parquet", rows(["cat", "dog"] * 4, 10), features=None)

    _, told = added(tmp_path, tmp_path / "pets")

    assert told[0].endswith("2 classes, 16 train; no images: README.md, preview.png.")


def test_what_cannot_be_read_from_anywhere_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "pets" / "pets.parquet", rows(["cat", "dog"] * 4))
    with tarfile.open(tmp_path / "pets.tar", "w") as tape:
        tape.add(tmp_path / "pets" / "pets.parquet", "pets.parquet")

    with pytest.raises(BadSource, match=r"pets/pets\.parquet is compressed a second time; zip the files as they are"):
        added(tmp_path, zipped(tmp_path / "pets", zipfile.ZIP_DEFLATED))
    with pytest.raises(BadSource, match="from a folder or from a zip, so unpack it first"):
        added(tmp_path, tmp_path / "pets.tar")


def test_of_a_zip_no_more_is_read_than_the_file_that_is_meant(tmp_path: Path) -> None:
    """Also where what comes before it in the zip claims to be longer, or the zip ends before it does."""
    write(tmp_path / "pets" / "pets.parquet", rows(["cat", "dog"] * 4))
    content = zipped(tmp_path / "pets").read_bytes()

    for place in (*range(26, 30), *range(len(content) - 60, len(content), 7)):
        (tmp_path / "pets.zip").write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        with contextlib.suppress(KdError):  # and nothing else
            add(tmp_path / "data", f"packed/p{place}", tmp_path / "pets.zip")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "pets.parquet"
    write(path, rows([0, 1, 2] * 3), compression="snappy")
    return path.read_bytes()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_in_it_is_said_in_a_sentence(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    content = bytearray(whole)
    for place in data.draw(st.lists(st.integers(4, len(whole) - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(5, len(content))))
    (tmp_path / "pets.parquet").write_bytes(content[:cut])

    with contextlib.suppress(KdError):  # and nothing else
        add(tmp_path / "data", f"packed/{data.draw(st.integers(0, 10**12))}", tmp_path / "pets.parquet")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    write(tmp_path / "pets.parquet", rows(["cat", "dog"] * 4))
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom kd.data.ingest.add import add\n"
        f"add(Path({str(tmp_path)!r}), 'packed/x', Path({str(tmp_path / 'pets.parquet')!r}))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "pip install 'stillhouse[parquet]'" in answer.stderr.splitlines()[-1]


def test_a_page_that_would_become_far_more_than_it_takes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    images = [{"bytes": bytes(2_000), "path": None}] * 40
    write(tmp_path / "pets.parquet", {"image": pa.array(images, IMAGE), "label": pa.array([0, 1] * 20)})

    with pytest.raises(BadSource, match=r"a page of pets.parquet would become [0-9,]+ bytes from [0-9,]+; write it"):
        added(tmp_path, tmp_path / "pets.parquet", size=16, limits=Limits(file_bytes=1_000))
