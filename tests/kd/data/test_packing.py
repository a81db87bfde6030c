"""A packed data set holds what was put into it, whole or not at all, and says what is wrong with it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest

from kd.data import packed_facts, packed_images, packing
from kd.data.packing import CannotPack, Chunk
from kd.data.parts import TEST, VALIDATION
from kd.errors import DataError
from tests.kd.data.sixty import IMAGES, IS_TEST, LABELS, NAME, SPLIT, in_chunks

# -- packing -----------------------------------------------------------------------------------------------------


def test_what_was_packed_is_read_again(tmp_path, place):
    read = packed_images.read(tmp_path, NAME)

    assert np.array_equal(read.images, IMAGES)
    assert np.array_equal(read.labels, LABELS)
    assert np.array_equal(read.split, SPLIT)
    assert isinstance(read.images, np.memmap)
    assert not read.images.flags.writeable
    assert (read.labels.dtype, read.facts.classes) == (np.int64, ("0", "1", "2", "3"))
    assert (read.facts.shape, read.facts.train, read.facts.test) == ((3, 6, 5), 40, 20)
    assert packed_images.verify(tmp_path, NAME) == read.facts == packed_facts.read(tmp_path, NAME)
    assert sorted(os.listdir(place)) == ["facts.json", "images.npy", "labels.npy", "split.npy"]
    assert np.array_equal(np.load(place / "images.npy"), IMAGES)  # the files are numpy's own


def test_mean_and_std_are_those_of_the_training_images(tmp_path, place):
    facts = packed_facts.read(tmp_path, NAME)

    training = IMAGES[~IS_TEST] / 255
    assert facts.mean == pytest.approx(training.mean(axis=(0, 1, 2)), rel=1e-12)
    assert facts.std == pytest.approx(training.std(axis=(0, 1, 2)), rel=1e-9)


def test_facts_do_not_depend_on_the_chunks_but_on_every_pixel_label_and_split(tmp_path, place):
    facts = packed_facts.read(tmp_path, NAME)
    pixel, label, split = IMAGES.copy(), LABELS.copy(), SPLIT.copy()
    pixel[59, 5, 4, 2] ^= 1
    label[7] = 0
    split[7] = TEST

    others = [(pixel, LABELS, SPLIT), (IMAGES, label, SPLIT), (IMAGES, LABELS, split)]
    digests = {packing.pack(tmp_path, f"packed/{k}", [Chunk(*other)]).digest for k, other in enumerate(others)}
    named = packing.pack(tmp_path, "packed/named", in_chunks(), ["a", "b", "c", "d"])

    assert packing.pack(tmp_path, "packed/one", in_chunks(60)) == facts
    assert packing.pack(tmp_path, "packed/many", in_chunks(1)) == facts
    assert len({facts.digest, named.digest, *digests}) == 5


def test_a_channel_that_never_changes_can_still_be_normalised(tmp_path):
    images = IMAGES.copy()
    images[..., 1] = 51
    facts = packing.pack(tmp_path, NAME, [Chunk(images, LABELS)])

    assert (facts.mean[1], facts.std[1]) == (0.2, 1.0)


OF_SIX_CHANNELS = np.random.default_rng(0).integers(0, 256, (60, 32, 48, 6), np.uint8)
LARGER = np.random.default_rng(1).integers(0, 256, (60, 16, 16, 3), np.uint8)


def wrong_chunks(**change: object) -> list[Chunk]:
    return [Chunk(IMAGES, LABELS), Chunk(IMAGES, LABELS)._replace(**change)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chunks", "classes", "why"),
    [
        ([], None, "there are no images"),
        ([Chunk(IMAGES[:0], LABELS[:0])], None, "there are no images"),
        (wrong_chunks(images=IMAGES / 255), None, r"must be uint8 .* these are float64 of shape \(60, 6, 5, 3\)"),
        ([Chunk(IMAGES[..., 0], LABELS)], None, r"N×H×W×C, these are uint8 of shape \(60, 6, 5\)"),
        (wrong_chunks(images=IMAGES[:, :4]), None, r"image 60 is of shape \(4, 5, 3\), those before .* \(6, 5, 3\)"),
        (wrong_chunks(labels=LABELS[1:]), None, r"each of 60 images, these are int64 of shape \(59,\)"),
        (wrong_chunks(labels=LABELS / 1), None, "these are float64"),
        (wrong_chunks(labels=LABELS - 1), None, "there is a label -1; labels count from 0"),
        ([Chunk(IMAGES, np.arange(60) * 10**9)], None, "class '0' has 1 images to learn from"),
        (wrong_chunks(labels=LABELS + 2), ["a", "b", "c", "d"], "there is a label 5, but only 4 classes"),
        (wrong_chunks(), ["cat", "dog"], "there is a label 3, but only 2 classes"),
        (wrong_chunks(), ["cat", "dog", "cat", "cow"], "two classes have the same name"),
        (
            wrong_chunks(labels=LABELS.astype(np.uint64) + 2**63),
            None,
            "there is a label 9223372036854775811; they may go",
        ),
        (wrong_chunks(), ["cat", "half \ud800", "dog", "cow"], r"class 1, 'half \\ud800', holds U\+D800"),
        (wrong_chunks(), ["cat", "c\u202ewo", "dog", "cow"], r"holds U\+202E"),
        (wrong_chunks(), list("abcde"), "class 'e' has 0 images to learn from; training, validation and test need"),
        (wrong_chunks(split=TEST)[1:], None, "class '0' has 0 images to learn from; training and validation need"),
        (wrong_chunks(split=VALIDATION)[1:], None, "class '0' has 0 images to learn from; training and test need one"),
        (wrong_chunks(split=3), None, r"must be 0 \(to learn from\), 1 \(validation\) or 2 \(test\)"),
        ([Chunk(IMAGES, LABELS * 0)], None, "there is only one class"),
        ([Chunk(IMAGES * 0 + 7, LABELS)], None, "every pixel to learn from is 7: the images show nothing"),
        *(
            ([Chunk(np.moveaxis(images, -1, 1), LABELS)], None, "look like N×C×H×W, .* np.moveaxis")
            for images in (
                LARGER,
                LARGER[..., :1],
                np.repeat(LARGER, 4, axis=-1),
                LARGER[:, :, :9],
                OF_SIX_CHANNELS,
            )
        ),
    ],
)
def test_what_makes_no_data_set_is_refused_in_words_and_leaves_nothing(tmp_path, chunks, classes, why):
    with pytest.raises(CannotPack, match=f"The data set {NAME} cannot be packed: .*{why}"):
        packing.pack(tmp_path, NAME, chunks, classes)

    assert list((tmp_path / "packed").iterdir()) == []


@pytest.mark.parametrize("shape", [(5, 5, 200), (16, 16, 12), (4, 4, 64), (2, 9, 1), (3, 3, 3), (1, 40, 1)])
def test_images_of_few_pixels_or_many_channels_are_packed_as_they_are(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (60, *shape), np.uint8)
    height, width, channels = shape

    assert packing.pack(tmp_path, NAME, [Chunk(images, LABELS)]).shape == (channels, height, width)


@pytest.mark.parametrize(
    ("labels", "given", "classes", "told"),
    [
        (LABELS, None, ("0", "1", "2", "3"), None),
        (LABELS + 1, None, ("1", "2", "3", "4"), "The labels 1, 2, 3, 4 are numbered from 0 to 3"),
        (LABELS * 10, None, ("0", "10", "20", "30"), "The labels 0, 10, 20, 30 are numbered from 0 to 3"),
        (LABELS + 1, ["a", "b", "c", "d"], ("a", "b", "c", "d"), "label 1 is 'a'"),
    ],
)
def test_labels_that_do_not_count_from_zero_are_numbered_anew_and_that_is_told(tmp_path, labels, given, classes, told):
    heard: list[str] = []

    facts = packing.pack(tmp_path, NAME, [Chunk(IMAGES, labels)], given, tell=heard.append)

    assert facts.classes == classes
    assert np.array_equal(packed_images.read(tmp_path, NAME).labels, LABELS)
    assert [told in remark for remark in heard] == ([True] if told else [])


def test_pixels_that_are_all_zero_or_one_are_told(tmp_path):
    heard: list[str] = []

    packing.pack(tmp_path, NAME, [Chunk(IMAGES % 2, LABELS)], tell=heard.append)

    assert ["multiply by 255" in remark for remark in heard] == [True]


@pytest.mark.parametrize("name", ["mine", "packed/", "packed/Mine", "packed/../x", "packed/a/b", "packed/" + "x" * 65])
def test_a_name_that_no_spec_could_say_is_refused(tmp_path, name):
    with pytest.raises(CannotPack, match="its name must be packed/ and 1 to 64 of a-z"):
        packing.pack(tmp_path, name, in_chunks())

    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_never_replaced(tmp_path, place):
    before = packed_facts.read(tmp_path, NAME)

    with pytest.raises(CannotPack, match="exists already; remove that folder, or choose another name"):
        packing.pack(tmp_path, NAME, in_chunks(), ["a", "b", "c", "d"])

    assert packed_facts.read(tmp_path, NAME) == before
    assert os.listdir(tmp_path / "packed") == ["mine"]


def test_a_packer_that_is_killed_leaves_nothing_that_looks_like_a_data_set(tmp_path):
    code = f"""if True:
        import os, signal
        from pathlib import Path
        import numpy as np
        from kd.data import packing
        def chunks():
            yield packing.Chunk(np.zeros((9, 2, 2, 1), np.uint8), np.zeros(9, int))
            os.kill(os.getpid(), signal.SIGKILL)
        packing.pack(Path({str(tmp_path)!r}), {NAME!r}, chunks())
    """

    assert subprocess.run([sys.executable, "-c", code]).returncode == -9

    assert packed_facts.names(tmp_path) == ()
    assert packing.pack(tmp_path, NAME, in_chunks()).count == 60  # what is left is in nobody's way


# -- reading -----------------------------------------------------------------------------------------------------


def test_facts_are_read_without_numpy_and_torch(tmp_path, place):
    code = f"""if True:
        import sys
        from pathlib import Path
        from kd.data import packed_facts
        print(packed_facts.read(Path({str(tmp_path)!r}), {NAME!r}).digest)
        assert not {{"numpy", "torch"}} & set(sys.modules)
    """

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == packed_facts.read(tmp_path, NAME).digest


def test_a_missing_data_set_is_told_with_the_nearest_ones(tmp_path):
    with pytest.raises(
        DataError, match="no data set named 'packed/mime', and no packed one at all; `kd data add` makes one"
    ):
        packed_images.read(tmp_path, "packed/mime")

    packing.pack(tmp_path, NAME, in_chunks())
    packing.pack(tmp_path, "packed/zebras", in_chunks())

    with pytest.raises(DataError, match="no data set named 'packed/mime'; the nearest are packed/mine"):
        packed_images.read(tmp_path, "packed/mime")
    assert packed_facts.names(tmp_path) == ("packed/mine", "packed/zebras")


def replaced(**change: object) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({**json.loads(content), **change}).encode()


def saved(array: np.ndarray) -> Callable[[bytes], bytes]:
    def instead_of(_: bytes) -> bytes:
        file = BytesIO()
        np.save(file, array)
        return file.getvalue()

    return instead_of


@pytest.mark.parametrize(
    ("file", "harm", "why"),
    [
        ("facts.json", lambda content: content[:-2], "facts.json is damaged"),
        ("facts.json", replaced(format=2), r"facts.json is damaged \(format: Input should be 1"),
        ("facts.json", replaced(shape=[3, 6]), "facts.json is damaged"),
        ("facts.json", replaced(mean=[0.5]), "a number for each channel"),
        ("facts.json", replaced(std=[0.5, 0.5, 0]), "facts.json is damaged"),
        (
            "facts.json",
            replaced(train=41),
            r"images.npy holds uint8 of shape \(60, 6, 5, 3\), where .* \(61, 6, 5, 3\)",
        ),
        ("facts.json", replaced(mean=[0.5, 0.5, 0.5]), "the facts in .* are not those that were packed"),
        ("facts.json", replaced(classes=["a", "b"]), "its labels go from 0 to 3, but there are 2 classes"),
        ("images.npy", lambda content: content[:-1], "images.npy is damaged"),
        ("images.npy", lambda content: content[:100], "images.npy is damaged"),
        (
            "images.npy",
            lambda content: content + b"!",
            r"images.npy is damaged \(its header claims .* 5400 bytes; 5401 follow",
        ),
        ("images.npy", lambda content: b"", "images.npy is damaged"),
        ("images.npy", lambda content: b"PK\x03\x04" + content[4:], "images.npy is damaged"),
        ("images.npy", saved(IMAGES.astype(np.int8)), "images.npy holds int8 of shape"),
        ("images.npy", saved(np.asfortranarray(IMAGES)), "images.npy is in Fortran's order"),
        ("labels.npy", saved(LABELS[::-1].copy()), "the labels in .* are not those that were packed"),
        ("labels.npy", saved(LABELS.astype(np.int32)), "labels.npy holds int32"),
        ("labels.npy", saved(np.array([object()] * 60)), "labels.npy is damaged"),
        ("split.npy", saved(np.zeros(60, np.uint8)), "the labels in .* are not those that were packed"),
        ("split.npy", None, "split.npy is damaged"),
    ],
)
def test_a_damaged_data_set_is_refused_in_words(tmp_path, place, file, harm, why):
    if harm is None:
        (place / file).unlink()
    else:
        (place / file).write_bytes(harm((place / file).read_bytes()))

    with pytest.raises(DataError, match=f"The data set {NAME} cannot be used: .*{why}"):
        packed_images.read(tmp_path, NAME)


def test_one_wrong_pixel_is_found_by_verifying(tmp_path, place):
    content = bytearray((place / "images.npy").read_bytes())
    content[-1] ^= 1
    (place / "images.npy").write_bytes(content)

    packed_images.read(tmp_path, NAME)

    with pytest.raises(DataError, match=r"the images in .* are not those that were packed"):
        packed_images.verify(tmp_path, NAME)
