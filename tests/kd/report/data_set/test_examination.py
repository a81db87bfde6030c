"""The examination of a data set: each finding in a sentence, with images to look at, and a page that shows them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd.data import packed_facts
from kd.data.ingest.add import add
from kd.data.origin import Files
from kd.data.packing import Chunk, pack
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import DataError
from kd.report.data_set.examination import Examination, Finding
from kd.report.data_set.examine import examine
from kd.report.data_set.gallery import SHOWN
from kd.report.shown.data_set import TITLES, page
from tests.kd.data.ingest.bringing import bring
from tests.kd.data.ingest.photos import encoded, photo
from tests.kd.report.reading import HOSTILE, Reader, assert_it_loads_and_runs_nothing, pictures_in

NAME = "packed/pets"
CLASSES = ("cat", "dog", "fox")


def images_of(count: int) -> np.ndarray:
    return np.stack([photo(seed, 48, 48) for seed in range(count)])


def like(image: np.ndarray) -> np.ndarray:
    """The same in another compression."""
    return np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", quality=80))))


def spoilt(folder: Path, classes: tuple[str, ...] = CLASSES, names: str = "photo {}.jpg") -> None:
    """A data set in which everything is wrong: 36 to learn from (30 cats, 3 dogs, 3 foxes), 4 for validation, 6 for
    the test, no fox among either."""
    images = images_of(46)
    labels = np.array([0] * 30 + [1] * 3 + [2] * 3 + [0, 1] * 2 + [0, 1] * 3)
    split = np.array([TRAIN] * 36 + [VALIDATION] * 4 + [TEST] * 6, np.uint8)
    images[30] = images[0]  # a dog that is a cat
    images[40] = images[1]  # a cat of the test
    images[33] = like(images[2])  # a fox that is nearly a cat
    images[42] = like(images[3])  # a cat of the test
    images[5] = like(images[4])  # a cat again
    images[6] = 200
    files = Files("pets.zip", [names.format(number) for number in range(46)], {"broken.jpg": "it is damaged"}, [7, 8])
    pack(folder, NAME, [Chunk(images, labels, split)], classes, files=files)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Examination:
    folder = tmp_path_factory.mktemp("data")
    spoilt(folder)
    return examine(folder, NAME)


FINDINGS = {
    "contrary_duplicates": "1 image is there with another label as well, pixel for pixel. One of the labels is wrong.",
    "shared_duplicates": "1 image is both to learn from and for the test, pixel for pixel. What is learnt by heart "
    "counts as understood there.",
    "contrary_near_duplicates": "1 image looks nearly like one with another label. If both show the same, one of the "
    "labels is wrong.",
    "shared_near_duplicates": "1 image that is for the test looks nearly like one to learn from. If both show the "
    "same, what is learnt by heart counts as understood there.",
    "classes_without_test": "1 of 3 classes has no image for the test: fox. How well they are recognised will not be "
    "known.",
    "classes_without_validation": "1 of 3 classes has no image for validation: fox. The epoch that is kept is chosen "
    "without them.",
    "unreadable": "1 file was left out, for nobody can read it as an image.",
    "blank": "1 image shows nothing: every pixel has the same colour.",
    "duplicates": "2 images are the same, pixel for pixel, as an earlier one. Where a split is made, they stay on one "
    "side of it.",
    "near_duplicates": "2 images look nearly like an earlier one in the same split. They weigh more than others.",
    "enlarged": "2 images were smaller than the others are now, and enlarged: they are blurred.",
    "imbalance": "cat has 10 times as many images to learn from as dog: 30 and 3. Accuracy says little of the small "
    "classes then; balanced accuracy does.",
}


def test_each_finding_is_a_sentence_and_the_worst_come_first(examined: Examination) -> None:
    assert {finding.code: finding.message for finding in examined.findings} == FINDINGS
    assert [finding.code for finding in examined.findings] == list(FINDINGS)
    assert TITLES.keys() == FINDINGS.keys()
    assert examined.remarks() == list(FINDINGS.values())


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        ("contrary_duplicates", [(0, 30)]),
        ("shared_duplicates", [(1, 40)]),
        ("contrary_near_duplicates", [(2, 33)]),
        ("shared_near_duplicates", [(3, 42)]),
        ("near_duplicates", [(2, 33), (4, 5)]),
        ("duplicates", [(0, 30), (1, 40)]),
        ("blank", [(6,)]),
        ("enlarged", [(7,), (8,)]),
    ],
)
def test_a_finding_shows_its_images_with_what_they_were(
    examined: Examination, code: str, numbers: list[tuple[int, ...]]
) -> None:
    (finding,) = [finding for finding in examined.findings if finding.code == code]

    shown = [tuple(picture.number for picture in example.pictures) for example in finding.examples]
    assert sorted(shown) == numbers
    for example in finding.examples:
        assert (example.similarity is not None) == ("near" in code)
        for picture in example.pictures:
            assert picture.file == f"photo {picture.number}.jpg"
            assert picture.split == ("train" if picture.number < 36 else "test")
            assert picture.png.startswith("data:image/png;base64,")


def test_a_data_set_of_which_nothing_is_to_be_said_is_told_so_and_not_by_its_files(tmp_path: Path) -> None:
    facts = pack(tmp_path, NAME, [Chunk(images_of(20), np.arange(20) % 2)])

    found = examine(tmp_path, NAME)

    assert (found.findings, found.remarks()) == ((), ["The examination has found nothing wrong."])
    assert (found.digest, found.source, found.images("train")) == (facts.digest, None, 20)
    assert [sample.label for sample in found.samples] == ["0", "1"]
    assert all(picture.file is None for sample in found.samples for picture in sample.pictures)
    assert "Nothing was found" in page(found)
    assert "a fifth of each class is" in page(found)


def test_it_lies_beside_the_files_and_changes_nothing_of_what_the_data_set_is(tmp_path: Path) -> None:
    spoilt(tmp_path)
    before = packed_facts.read(tmp_path, NAME)

    found = examine(tmp_path, NAME)

    assert packed_facts.read(tmp_path, NAME) == before
    assert Examination.model_validate_json((tmp_path / NAME / "report.json").read_bytes()) == found
    assert (tmp_path / NAME / "report.html").read_text() == page(found)


def test_what_was_left_out_or_enlarged_when_it_was_made_is_known_by_name(tmp_path: Path) -> None:
    files = {f"{kind}/{n}.png": encoded(photo(10 * place + n)) for place, kind in enumerate("ab") for n in range(4)}
    files |= {
        "a/cut.jpg": encoded(photo(99), "JPEG")[:300],
        "b/anim.gif": b"GIF89a",
        "b/small.png": encoded(photo(7, 9, 9)),
    }
    told: list[str] = []
    add(tmp_path / "data", NAME, bring(tmp_path, "zip", files), size=16, skip_unreadable=True, tell=told.append)

    left_out, enlarged = sorted(examine(tmp_path / "data", NAME).findings, key=lambda one: one.code)[::-1]

    assert (left_out.code, left_out.count, dict(left_out.names).keys()) == (
        "unreadable",
        2,
        {"a/cut.jpg", "b/anim.gif"},
    )
    assert "GIF is not read" in dict(left_out.names)["b/anim.gif"]
    assert [picture.file for example in enlarged.examples for picture in example.pictures] == ["b/small.png"]
    assert any("small" in line or "Smaller" in line for line in told)


def test_what_packing_has_told_is_not_told_again(examined: Examination) -> None:
    again = examined.remarks(after_packing=True)

    assert FINDINGS["shared_near_duplicates"] in again
    assert FINDINGS["shared_duplicates"] not in again
    only = examined.model_copy(update={"findings": tuple(one for one in examined.findings if one.code == "enlarged")})
    assert only.remarks(after_packing=True) == ["Nothing else is wrong."]


def test_near_duplicates_weigh_more_where_the_test_split_is_yet_to_be_cut(tmp_path: Path) -> None:
    images = images_of(12)
    images[1] = like(images[0])
    pack(tmp_path, NAME, [Chunk(images, np.arange(12) // 6)])

    (finding,) = examine(tmp_path, NAME).findings

    assert (finding.code, finding.severity) == ("near_duplicates", "warning")
    assert "bring a split that keeps them together" in finding.message


def test_the_page_is_whole_and_loads_nothing_whatever_classes_and_files_are_called(tmp_path: Path) -> None:
    hostile = "<script>alert({})</script>\u202e\x1b[31m"
    spoilt(tmp_path, names=hostile)
    found = examine(tmp_path, NAME)
    renamed = dict(zip(CLASSES, HOSTILE, strict=False))
    text = found.model_dump_json()
    for name, other in renamed.items():
        text = text.replace(f'"{name}"', json.dumps(other))

    text = page(Examination.model_validate_json(text))

    read = Reader(text)
    assert_it_loads_and_runs_nothing(text)
    assert all(image["alt"] for image in read.all("img"))
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(30)&lt;/script&gt;" in text
    assert len(pictures_in(text)) == 1


def test_of_many_findings_and_classes_a_few_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    count = 4 * 120
    images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    images[1::4] = images[::4]
    pack(tmp_path, NAME, [Chunk(images, np.arange(count) // 4)], [f"class {number}" for number in range(120)])

    found = examine(tmp_path, NAME)

    (finding,) = found.findings
    assert (finding.count, len(finding.examples)) == (120, SHOWN)
    text = page(found)
    assert "24 of 120" in text
    assert "… 96 classes between …" in text
    assert "A few images of 16 classes" in text
    assert len(text) < 2_000_000
    Reader(text)


def test_one_that_was_deleted_meanwhile_stays_so(tmp_path: Path) -> None:
    pack(tmp_path, NAME, [Chunk(images_of(20), np.arange(20) % 2)])

    def delete(images: int, fraction: float) -> None:
        for file in (tmp_path / NAME).glob("*"):
            file.unlink()
        if (tmp_path / NAME).exists():
            (tmp_path / NAME).rmdir()

    with pytest.raises(DataError, match="no data set named"):
        examine(tmp_path, NAME, progress=delete)

    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("damage", ["{", '{"format": 2}', '{"source": "x", "enlarged": [99]}'])
def test_what_is_damaged_of_where_it_came_from_is_left_out(tmp_path: Path, damage: str) -> None:
    spoilt(tmp_path)
    (tmp_path / NAME / "origin.json").write_text(damage)
    (tmp_path / NAME / "names.jsonl").write_text('"a"\n3\n')

    found = examine(tmp_path, NAME)

    assert found.source is None
    assert {finding.code for finding in found.findings} == FINDINGS.keys() - {"unreadable", "enlarged"}
    assert all(not _files(finding) for finding in found.findings)


def _files(finding: Finding) -> list[str]:
    return [picture.file for example in finding.examples for picture in example.pictures if picture.file]
