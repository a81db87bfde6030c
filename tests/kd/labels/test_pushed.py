"""Labels that somebody made elsewhere: taken when they are labels of these images, else refused in words."""

import hashlib
import io
import zipfile
from typing import Any

import numpy as np
import pytest

from kd.labels import cache, pushed, table
from kd.labels.arrays import BadArray
from kd.labels.pushed import Images, PushedFull

OF = Images("digits", images=20, classes=4, in_order=(20,))
LOGITS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32) * 5
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def npy(array: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def take(folder, content: bytes, kind="logits", of=OF, **how: Any):
    return pushed.take(io.BytesIO(content), hashlib.sha256(content).hexdigest(), folder, of, kind, **how)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 4), (20, 1, 4)])
def test_logits_are_kept_as_a_table_of_one_view_like_any_other(tmp_path, dtype, shape):
    given = LOGITS.astype(dtype).reshape(shape)

    entry, is_new = take(tmp_path, npy(given))

    kept = table.read(tmp_path / entry.array)
    assert is_new
    assert (kept.shape, kept.dtype) == ((20, 1, 4), np.float16)
    assert np.array_equal(kept[:, 0], given.reshape(20, 4).astype(np.float16))
    image = np.load(tmp_path / entry.parameters)
    assert (image.shape, image.dtype, image[:, 0, 0].tolist()) == ((20, 1, 1), np.int32, [*range(20)])
    assert (entry.manifest.origin, entry.manifest.dataset_name) == ("pushed", "digits")
    assert entry.manifest.view_parameters.columns == ("image",)
    assert [found.id for found in cache.entries(tmp_path)] == [entry.id]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_become_logits_that_say_the_same(tmp_path, dtype):
    given = PROBABILITIES.astype(dtype)
    given[3] = [0, 0.5, 0.5, 0]

    entry, _ = take(tmp_path, npy(given), "probabilities")

    kept = table.read(tmp_path / entry.array)[:, 0].astype(np.float64)
    assert np.isfinite(kept).all()
    assert np.allclose(np.exp(kept), given, atol=2e-3)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_says_of_which_image_each_row_is(tmp_path, compressed):
    numbers = np.array([17, 3, 5])

    entry, _ = take(tmp_path, npz(compressed, logits=LOGITS[:3], image=numbers))

    assert np.load(tmp_path / entry.parameters).reshape(-1).tolist() == [17, 3, 5]


def test_the_same_file_is_the_same_table_and_is_not_read_again(tmp_path):
    one, first = take(tmp_path, npy(LOGITS))
    other, again = take(tmp_path, npy(LOGITS))
    of_another, _ = take(tmp_path, npy(LOGITS), of=Images("mnist5k", 20, 4, (20,)))

    assert (first, again) == (True, False)
    assert one.id == other.id != of_another.id


def with_row(row: Any, of: np.ndarray = LOGITS) -> np.ndarray:
    changed = of.astype(np.float64)
    changed[7] = row
    return changed


REFUSED = [
    (npy(LOGITS[:19]), "logits", "there are 19 rows, and digits has 20 images"),
    (npy(LOGITS[:, :3]), "logits", "`logits` has 3 classes, digits has 4"),
    (npy(np.repeat(LOGITS[:, None], 2, axis=1)), "logits", "has 2 views of each image"),
    (npy(LOGITS[0]), "logits", "must have the shape images × classes, it has (4,)"),
    (npy(LOGITS.astype(np.int64)), "logits", "must be float16, float32 or float64"),
    (npy(LOGITS.astype(">f4")), "logits", "little-endian"),
    (npy(np.asfortranarray(LOGITS)), "logits", "in Fortran's order; save np.ascontiguousarray"),
    (npy(np.array([[None]]), allow_pickle=True), "logits", "little-endian floats"),
    (npy(with_row([1, 2, np.nan, 4])), "logits", "row 7 has a value that is not finite"),
    (npy(with_row([1, 2, -np.inf, 4])), "logits", "row 7 has a value that is not finite"),
    (npy(with_row([1e5, 2, 3, 4])), "logits", "row 7 has a logit beyond ±65504"),
    (npy(with_row([0.5, 0.5, 0.5, 0], PROBABILITIES)), "probabilities", "row 7 adds up to 1.5, and probabilities to 1"),
    (npy(LOGITS), "probabilities", "logits are pushed as logits"),
    (npy(PROBABILITIES), "logits", "these are probabilities, push them as such"),
    (npy(np.zeros((20, 4))), "logits", "every row says the same of every class"),
    (npy(np.tile(LOGITS[:1], (20, 1))), "logits", "all rows are the same"),
    (npy(LOGITS)[:-1], "logits", "the header of `logits` claims 320 bytes, and 319 follow"),
    (npy(LOGITS)[:40], "logits", "the file is damaged (it breaks off)"),
    (b"", "logits", "neither an .npy nor an .npz"),
    (b'{"labels": []}', "logits", "neither an .npy nor an .npz"),
    (b"PK\x03\x04 no archive", "logits", "the file is damaged"),
    (npz(probabilities=PROBABILITIES), "logits", "the .npz has no array `logits`; it has probabilities"),
    (npz(logits=LOGITS, labels=[1]), "logits", "the .npz has an array `labels`; there may be `logits` and `image`"),
    (npz(logits=LOGITS[:2], image=[3, 3]), "logits", "`image` names an image twice"),
    (npz(logits=LOGITS[:2], image=[3, 20]), "logits", "`image` names image 20, and those of digits are 0 to 19"),
    (npz(logits=LOGITS[:2], image=[-1, 2]), "logits", "`image` names image -1"),
    (npz(logits=LOGITS[:2], image=[1.0, 2.0]), "logits", "`image` must be an integer for each of 2 rows"),
    (npz(logits=LOGITS[:2], image=[1]), "logits", "`image` must be an integer for each of 2 rows"),
]


@pytest.mark.parametrize(("content", "kind", "why"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_holds_no_labels_is_refused_in_words_and_leaves_nothing(tmp_path, content, kind, why):
    with pytest.raises(BadArray) as refused:
        take(tmp_path, content, kind)

    assert why in str(refused.value)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_bit_that_flipped_in_an_archive_is_found(tmp_path):
    content = bytearray(npz(logits=LOGITS))
    place = content.index(LOGITS.tobytes()[:16])
    content[place] ^= 1

    with pytest.raises(BadArray, match="the file is damaged"):
        take(tmp_path, bytes(content))


def test_an_archive_that_claims_more_than_it_has_takes_no_memory(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logits.npy", npy(LOGITS))
        archive.writestr("image.npy", pushed.header_of("<i8", (10**9,)) + bytes(10**6))

    with pytest.raises(BadArray, match="`image` must be an integer for each of 20 rows"):
        take(tmp_path, file.getvalue())


def test_what_looks_strange_is_told(tmp_path):
    entry, _ = take(tmp_path, npy(with_row([1, 1, 1, 1])))
    hard, _ = take(tmp_path, npy(np.eye(4)[np.arange(20) % 4]), "probabilities")

    assert entry.manifest.remarks == ("1 of 20 rows say the same of every class (row 7).",)
    assert "no more than hard ones" in hard.manifest.remarks[0]


def test_it_never_goes_by_itself_and_leaves_room_for_others(tmp_path):
    mine, _ = take(tmp_path, npy(LOGITS), limit_bytes=10_000)

    assert cache.make_room(tmp_path, "ab" * 16, 9_999 - mine.bytes, 10_000) == []
    with pytest.raises(cache.LabelCacheFull, match=f"those that were pushed have {mine.bytes:,}"):
        cache.make_room(tmp_path, "ab" * 16, 10_000, 10_000)
    with pytest.raises(PushedFull, match="half of STILLHOUSE_LABEL_CACHE_BYTES"):
        take(tmp_path, npy(LOGITS + 1), limit_bytes=2 * mine.bytes)
    cache.collect(tmp_path, older_than_seconds=-10)
    assert [entry.id for entry in cache.entries(tmp_path)] == [mine.id]
