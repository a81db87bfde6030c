"""An npz is packed as it is, a chunk at a time, or refused in words."""

import numpy as np
import pytest

from kd.data import npz, packing
from kd.data.npz import BadNpz
from tests.kd.data.sixty import IMAGES, IS_TEST, LABELS, NAME, in_chunks

ARRAYS = {"images": IMAGES, "labels": LABELS}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_packed_as_it_is(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS, split=np.where(IS_TEST, 2, 0), classes=list("abcd"))

    found = npz.read(tmp_path / "a.npz")
    facts = packing.pack(tmp_path, NAME, found.chunks(), found.classes)

    assert found.shape == (60, 6, 5, 3)
    assert facts == packing.pack(tmp_path, "packed/other", in_chunks(), list("abcd"))


def test_an_npz_is_read_a_chunk_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "CHUNK_BYTES", 7 * IMAGES[0].size)
    np.savez(tmp_path / "a.npz", **ARRAYS)

    chunks = list(npz.read(tmp_path / "a.npz").chunks())

    assert [len(chunk.images) for chunk in chunks] == [7] * 8 + [4]
    assert np.array_equal(np.concatenate([chunk.images for chunk in chunks]), IMAGES)
    assert not any(chunk.split.any() for chunk in chunks)


def test_grey_images_need_no_channel(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES[..., 0], labels=LABELS.astype(np.uint8))

    (chunk,) = npz.read(tmp_path / "a.npz").chunks()

    assert np.array_equal(chunk.images, IMAGES[..., :1])


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"images": IMAGES}, "it has no array `labels`; it has images"),
        ({"x": IMAGES, "y": LABELS}, "it has no array `images`; it has x, y"),
        ({**ARRAYS, "images": IMAGES / 255}, r"`images` must be uint8 .* it is float64 of shape \(60, 6, 5, 3\)"),
        ({**ARRAYS, "images": IMAGES[0, 0]}, r"it is uint8 of shape \(5, 3\)"),
        ({**ARRAYS, "images": np.asfortranarray(IMAGES)}, "Fortran's order; save np.ascontiguousarray"),
        ({**ARRAYS, "images": IMAGES[:0]}, "`images` is empty"),
        (
            {**ARRAYS, "labels": LABELS[1:]},
            r"`labels` must be an integer for each of 60 images, it is int64 of .*\(59,\)",
        ),
        ({**ARRAYS, "labels": LABELS / 1}, "`labels` must be an integer"),
        ({**ARRAYS, "labels": np.array([object()] * 60)}, r"`labels` is an array of Python objects; save np.array"),
        ({**ARRAYS, "classes": np.array(list("abcd"), object)}, r"`classes` is an .* np.array\(classes, dtype=str\)"),
        ({**ARRAYS, "split": LABELS}, r"`split` must be 0 \(to learn from\), 1 \(validation\) or 2 \(test\), not 3"),
        ({**ARRAYS, "split": IS_TEST}, "`split` must be an integer for each of 60"),
        ({**ARRAYS, "classes": np.arange(4)}, "`classes` must be a list of texts"),
    ],
)
def test_an_npz_of_something_else_is_refused_in_words(tmp_path, arrays, why):
    np.savez(tmp_path / "a.npz", **arrays)

    with pytest.raises(BadNpz, match=f"a.npz holds no images to learn from: .*{why}"):
        npz.read(tmp_path / "a.npz")


@pytest.mark.parametrize("harm", [lambda content: content[:-30], lambda content: content.replace(b"\x07", b"\x08")])
def test_a_damaged_npz_is_refused(tmp_path, harm):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    (tmp_path / "a.npz").write_bytes(harm((tmp_path / "a.npz").read_bytes()))

    with pytest.raises(BadNpz, match=r"it is damaged, or no \.npz"):
        packing.pack(tmp_path, NAME, npz.read(tmp_path / "a.npz").chunks())
