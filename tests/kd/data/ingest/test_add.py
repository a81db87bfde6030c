"""Photos become a data set that jobs can name: told as what, resized by a rule that its facts record, or refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd.data import packed_facts, packed_images
from kd.data.dataset import load_dataset
from kd.data.ingest.add import add
from kd.data.ingest.images import decode
from kd.data.ingest.listing import BadSource, Limits
from kd.data.packed_facts import PackedFacts, Resized
from kd.data.packing import CannotPack
from kd.errors import KdError
from tests.kd.data.contents import files_in
from tests.kd.data.ingest.bringing import KINDS, bring
from tests.kd.data.ingest.photos import encoded, photo

NAME = "packed/pets"
NO_TEST = "Nothing says what is for the test: 20% of each class are, in all runs the same ones."
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF"}


def pets(each: int = 5, **sizes: int) -> dict[str, bytes]:
    """Photos of two classes, in all formats."""
    suffixes = list(FORMATS)
    return {
        f"{kind}/{number}.{(suffix := suffixes[number % 5])}": encoded(
            photo(10 * place + number, **sizes), FORMATS[suffix]
        )
        for place, kind in enumerate(("cat", "dog"))
        for number in range(each)
    }


def added(
    place: Path, files: dict[str, bytes], kind: str = "folder", **options: object
) -> tuple[PackedFacts, list[str]]:
    told: list[str] = []
    path = bring(place, kind, files)
    return add(place / "data", NAME, path, tell=told.append, **options), told  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_photos_become_a_data_set_that_can_be_loaded(tmp_path: Path, kind: str) -> None:
    files = {f"pets/{name}": content for name, content in pets().items()} | {"pets/notes.txt": b"?"}
    facts, told = added(tmp_path, files, kind)

    assert told == [f"pets{'' if kind == 'folder' else '.' + kind} is understood as class/image: 2 classes, 10 train; "
                    "no images: pets/notes.txt.", NO_TEST]  # fmt: skip
    assert (facts.classes, facts.shape, facts.train, facts.test) == (("cat", "dog"), (3, 24, 32), 10, 0)
    assert (facts.resized, facts.duplicates) == (None, None)
    assert packed_images.verify(tmp_path / "data", NAME) == facts
    read = packed_images.read(tmp_path / "data", NAME)
    for image, label, name in zip(read.images, read.labels, sorted(pets()), strict=True):
        assert np.array_equal(image, decode(name, pets()[name], gray=False))
        assert label == int(name.startswith("dog"))
    assert len(load_dataset(NAME, tmp_path / "data", 0.2).test) == 2


def test_photos_of_any_size_are_resized_by_a_rule_that_is_part_of_what_they_are(tmp_path: Path) -> None:
    files = pets() | {"cat/large.png": encoded(photo(90, 50, 40)), "cat/small.png": encoded(photo(91, 9, 12))}
    facts, told = added(tmp_path, files, size=16)

    assert facts.shape == (3, 16, 16)
    assert facts.resized == Resized(side=16, interpolation="bicubic", library="pillow")
    assert json.loads((tmp_path / "data" / NAME / "facts.json").read_text())["resized"]["side"] == 16
    assert facts.digest != facts.model_copy(update={"resized": None}).digest
    assert told[2:] == ["Smaller than 16×16 pixels, and enlarged: 1 image."]
    assert packed_facts.read(tmp_path / "data", NAME) == facts


def test_photos_that_are_all_gray_keep_one_channel(tmp_path: Path) -> None:
    gray = {f"{kind}/{n}.png": encoded(photo(n, channels=1)) for n, kind in enumerate(["cat", "dog"] * 4)}
    facts, _ = added(tmp_path / "a", gray)
    deep = encoded(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80)
    of_both, told = added(tmp_path / "b", gray | {"cat/colour.png": encoded(photo(9)), "cat/deep.png": deep})

    assert facts.shape == (1, 24, 32)
    assert of_both.shape == (3, 24, 32)
    assert told[2:] == ["Of 16 bits for each pixel the upper 8 are kept: 1 image."]


def test_splits_and_the_order_of_classes_are_kept(tmp_path: Path) -> None:
    files = {f"{split}/{name}": content for split, seed in (("train", 0), ("val", 1), ("test", 2))
             for name, content in list(pets(each=3 + seed).items())}  # fmt: skip
    facts, told = added(tmp_path, files, classes=["dog", "cat"])

    assert told[0] == "pets is understood as split/class/image: 2 classes, 6 train, 8 validation, 10 test."
    assert (facts.classes, facts.train, facts.validation, facts.test) == (("dog", "cat"), 6, 8, 10)
    # The same photos in all three: told by name.
    assert told[1].startswith("6 images are both to learn from and for the test: ")
    assert "test/cat/0.jpg = train/cat/0.jpg, " in told[1]


def test_a_folder_and_a_zip_in_any_order_are_the_same_data_set(tmp_path: Path) -> None:
    as_zip, _ = added(tmp_path / "a", pets(), "zip")
    as_zip_of_another_order, _ = added(tmp_path / "b", dict(reversed(pets().items())), "zip")
    as_folder, _ = added(tmp_path / "c", pets())

    assert as_zip == as_zip_of_another_order == as_folder


@pytest.mark.parametrize("file", ["pets.npz", "upload"])
def test_an_npz_is_taken_as_well_whatever_its_name(tmp_path: Path, file: str) -> None:
    images = np.stack([photo(seed) for seed in range(8)])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(8) % 2 + 1)
    (tmp_path / "a.npz").rename(tmp_path / file)
    told: list[str] = []

    facts = add(tmp_path, NAME, tmp_path / file, classes=["cat", "dog"], tell=told.append)

    assert facts.classes == ("cat", "dog")
    assert told == ["The labels 1 to 2 are numbered from 0 to 1: label 1 is 'cat'."]
    with pytest.raises(CannotPack, match=r"these are pixels, not photos in files"):
        add(tmp_path, "packed/others", tmp_path / file, size=32)


def test_it_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd.data.ingest.add.EVERY_IMAGES", 5)
    heard: list[tuple[str, int, float]] = []
    added(tmp_path, pets(), progress=lambda *progress: heard.append(progress))

    assert heard == [
        *(("looking", 0, 0.0), ("looking", 5, 0.1)),
        *(("packing", 0, 0.2), ("packing", 5, pytest.approx(0.6))),
    ]


# -- what is refused ---------------------------------------------------------------------------------------------

TABLE = "file_name,label\n" + "".join(f"{name},{name.startswith('dog') + 1}\n" for name in pets())


@pytest.mark.parametrize(
    ("files", "options", "why"),
    [
        (pets() | {"cat/9.png": encoded(photo(9, 40, 40))}, {}, r"are of 2 sizes, 10 of them 32×24: .* such as 32"),
        (pets(each=2), {}, "class 'cat' has 2 images to learn from; training, validation and test need one each"),
        ({name: content for name, content in pets().items() if "cat" in name}, {}, "there is only one class"),
        (pets(), {"classes": ["cat", "cow"]}, "there is no class named 'dog'"),
        (pets(), {"classes": ["cat", "dog", "cow"]}, "class 'cow' has 0 images to learn from"),
        (pets(), {"size": 0}, "cannot be of 0 pixels a side"),
        (pets(), {"size": 5_000}, "may have up to 4,096"),
        (pets() | {"metadata.csv": TABLE.encode()}, {"classes": ["cat"]}, "there is a label 2, but only 1 classes"),
        (pets() | {"cat/9.svg": b"<svg/>"}, {}, r"1 image cannot be read: cat/9.svg: it is a dra.*skip-unreadable"),
        (
            pets() | {"cat/8.jpg": encoded(photo(8), "JPEG")[:-40], "cat/9.jpg": encoded(photo(9), "JPEG")[:-40]},
            {},
            r"2 images cannot be read: cat/8.jpg: it is damaged, or was cut off .*; cat/9.jpg: it is",
        ),
        (dict.fromkeys(pets(), b"?"), {"skip_unreadable": True}, "no image of it can be read"),
    ],
)  # fmt: skip
def test_photos_that_make_no_data_set_are_refused_and_nothing_stays(
    tmp_path: Path, files: dict[str, bytes], options: dict[str, object], why: str
) -> None:
    with pytest.raises(KdError, match=why):
        added(tmp_path, files, **options)

    assert not (tmp_path / "data").exists() or files_in(tmp_path / "data") == []


def test_a_disk_that_is_too_small_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000}))

    with pytest.raises(CannotPack, match=r"it takes 7,680 bytes, and 1,000 are free on the disk: give a smaller size"):
        added(tmp_path, pets(), size=16)


def test_labels_that_are_numbers_count_from_1_where_the_classes_are_named(tmp_path: Path) -> None:
    facts, told = added(tmp_path, pets() | {"metadata.csv": TABLE.encode()}, classes=["cat", "dog"])

    assert told[2] == "The labels 1 to 2 are numbered from 0 to 1: label 1 is 'cat'."
    assert packed_images.read(tmp_path / "data", NAME).labels.tolist() == [0] * 5 + [1] * 5
    assert facts.classes == ("cat", "dog")


def test_unreadable_images_can_be_left_out(tmp_path: Path) -> None:
    bad = {"cat/8.jpg": encoded(photo(8), "JPEG")[:-40], "dog/9.heic": b"?"}
    facts, told = added(tmp_path, pets() | bad, skip_unreadable=True)

    assert facts.train == 10
    # The first is seen before anything is decoded.
    assert told[2] == "Left out, for they cannot be read: dog/9.heic: HEIC is not read; export it as JPEG or PNG."
    assert "cat/8.jpg: it is damaged" in told[-1]


def test_nobody_reads_on_after_a_hundred_unreadable_images(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"100 images cannot be read: cat/0.jpg: .*; and 95 more"):
        added(tmp_path, pets() | {f"cat/{n}.jpg": b"?" for n in range(200)})


def test_a_name_that_is_taken_is_told_before_anything_is_read(tmp_path: Path) -> None:
    added(tmp_path, pets())

    with pytest.raises(CannotPack, match="exists already"):
        add(tmp_path / "data", NAME, tmp_path / "missing")
    with pytest.raises(BadSource, match=r"more than 3 files"):
        add(tmp_path / "data", "packed/others", tmp_path / "pets", limits=Limits(files=3))


MEASURE = """
import resource, sys
from pathlib import Path
from kd.data.ingest.add import add

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
add(Path(sys.argv[1]), "packed/few", Path(sys.argv[2]), size=64)
few = peak()
add(Path(sys.argv[1]), "packed/many", Path(sys.argv[3]), size=64)
print(peak() - few, "torch" in sys.modules)
"""


def test_memory_does_not_grow_with_the_photos_and_torch_stays_out(tmp_path: Path) -> None:
    # 200 photos of 300×300 are 54 MB, and 2.5 MB of what is packed.
    small = {
        f"{k}/{n}.jpg": encoded(photo(n + 500 * (k == "cat"), 300, 300), "JPEG")
        for n in range(100)
        for k in ("cat", "dog")
    }
    few, many = bring(tmp_path / "a", "folder", dict(list(small.items())[:20])), bring(tmp_path / "b", "folder", small)

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path, few, many], capture_output=True, text=True, check=True
    )  # fmt: skip

    grown, has_torch = done.stdout.split()
    assert int(grown) < 20_000, "kilobytes"
    assert has_torch == "False"


def test_what_pillow_writes_and_reads_elsewhere_is_what_the_facts_promise(tmp_path: Path) -> None:
    image = Image.open(bring(tmp_path, "folder", pets(height=60, width=80)) / "cat" / "1.png")
    add(tmp_path / "data", NAME, tmp_path / "pets", size=16)

    # Short side to 16, antialiased, then the middle.
    expected = np.asarray(image.resize((21, 16), Image.Resampling.BICUBIC).crop((2, 0, 18, 16)))
    assert np.array_equal(packed_images.read(tmp_path / "data", NAME).images[1], expected)
