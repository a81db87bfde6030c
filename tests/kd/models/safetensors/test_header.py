"""A header of safetensors is believed as far as the bytes bear it out; what is none of ours is refused in words."""

import io
import json
import tracemalloc

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from kd.models.safetensors.header import MOST_HEADER_BYTES, BadHeader, Header, Weights, read
from tests.support.models.safetensors_files import lying, tensor

FLAT = 24 * MOST_HEADER_BYTES
"""What Python needs to hold the largest header there may be."""


def read_bytes(content: bytes) -> Header:
    return read(io.BytesIO(content), len(content))


def test_what_safetensors_wrote_is_read_as_it_is():
    state = {
        "a.weight": torch.ones(2, 3, dtype=torch.float16),
        "a.num_batches_tracked": torch.tensor(7),
        "b": torch.ones(5, dtype=torch.bfloat16),
        "nothing": torch.ones(0, 4),
    }

    header = read_bytes(safetensors.torch.save(state, {"format": "pt"}))

    assert header.metadata == {"format": "pt"}
    assert {name: (one.kind, one.shape) for name, one in header.tensors.items()} == {
        "a.weight": ("F16", (2, 3)),
        "a.num_batches_tracked": ("I64", ()),
        "b": ("BF16", (5,)),
        "nothing": ("F32", (0, 4)),
    }
    assert header.weights() == Weights(tensors=4, numbers=11, types=("BF16", "F16", "F32"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"1234567", "the file ends before its header"),
        (lying({"a": tensor()}, length=1 << 40), "its header is said to take 1,099,511,627,776 bytes, and the"),
        (lying({"a": tensor()}, bytes(24), length=2), "it is no JSON in UTF-8"),
        (lying(b"{" + b" " * MOST_HEADER_BYTES), "its header takes 2,097,153 bytes, and 2,097,152 are the limit"),
        (lying(b'{"a": \xff}'), "it is no JSON in UTF-8"),
        (lying(b"[" * 100_000), "it is no JSON in UTF-8"),
        (lying(b"[]"), "it is no JSON object"),
        (lying({}), "it holds no tensors"),
        (lying({"__metadata__": {"format": "pt"}}), "it holds no tensors"),
        (lying({"__metadata__": {"epoch": 3}, "a": tensor()}, bytes(24)), "is no mapping of texts"),
        (lying(b'{"a": {}, "a": {}}'), "'a' is there twice"),
        (lying({"a": None}), "its header must say dtype, shape and data_offsets of 'a', and nothing else"),
        (lying({"a": tensor(stride=1)}, bytes(24)), "its header must say dtype, shape and data_offsets of 'a'"),
        (lying({"a": tensor(dtype="F8_E4M3")}, bytes(24)), "'a' is of type 'F8_E4M3': save weights as float32"),
        (lying({"a": tensor(dtype=[])}, bytes(24)), "'a' is of no type"),
        (lying({"a": tensor(["2", "3"])}, bytes(24)), "the shape of 'a' must be at most 8 whole numbers from 0"),
        (lying({"a": tensor([2, -3])}, bytes(24)), "the shape of 'a' must be"),
        (lying({"a": tensor([2, 3.0])}, bytes(24)), "the shape of 'a' must be"),
        (lying({"a": tensor([True, 6])}, bytes(24)), "the shape of 'a' must be"),
        (lying(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}'), "NaN is no number of JSON"),
        (lying({"a": tensor([1] * 9)}, bytes(4)), "the shape of 'a' must be at most 8"),
        (lying({"a": tensor(offsets=["0", "24"])}, bytes(24)), "data_offsets of 'a' must be two whole numbers"),
        (lying({"a": tensor(offsets=[24, 0])}, bytes(24)), "data_offsets of 'a' must be two whole numbers"),
        (lying({"a": tensor(offsets=[0])}, bytes(24)), "data_offsets of 'a' must be two whole numbers"),
        (lying({"a": tensor(offsets=[0, 20])}, bytes(24)), "F32 of shape 2×3, 24 bytes, and to lie in 20 bytes"),
        (lying({"a": tensor([1 << 62] * 8)}, bytes(24)), "more than 2^64 bytes, and to lie in 24"),
        (lying({"a": tensor(offsets=[0, 24])}, bytes(20)), "its tensors take 24 bytes, and 20 are there: it was cut"),
        (lying({"a": tensor()}, bytes(25)), "1 byte after its tensors belong to none"),
        (lying({"a": tensor(offsets=[1, 25])}, bytes(25)), "1 byte before those of 'a' belong to none"),
        (lying({"a": tensor(), "b": tensor(offsets=[20, 44])}, bytes(44)), "the bytes of 'b' overlap those of 'a'"),
        (lying({"a": tensor(), "b": tensor()}, bytes(24)), "the bytes of 'b' overlap those of 'a'"),
        (lying({"a": tensor(), "b": tensor(offsets=[30, 54])}, bytes(54)), "6 bytes before those of 'b' belong to"),
        (lying(rb'{"\ud800": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}', bytes(4)), "is no text"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused_with_what_is_wrong(content, why):
    with pytest.raises(BadHeader) as caught:
        read_bytes(content)

    assert why in caught.value.why


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4) | st.sampled_from(["F32", "I64"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
NEARLY_TENSORS = st.fixed_dictionaries(
    {
        "dtype": JSON | st.sampled_from(["F32", "BF16", "I64", "BOOL"]),
        "shape": JSON | st.lists(st.integers(-1, 5), max_size=3),
        "data_offsets": JSON | st.lists(st.integers(-1, 40), min_size=2, max_size=2),
    }
)
HEADERS = st.dictionaries(st.text(max_size=6) | st.just("__metadata__"), NEARLY_TENSORS | JSON, max_size=4)
FILES = st.one_of(
    st.binary(max_size=64),
    st.builds(lying, HEADERS, st.binary(max_size=48)),
    st.builds(lying, st.binary(max_size=40), length=st.integers(0, 80)),
)


@given(FILES)
@example(lying(b'{"a":' + b'{"a":' * 50_000))
@example(lying(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 10_000 + b'], "data_offsets": [0, 4]}}'))
def test_whatever_the_bytes_are_they_are_tensors_that_lie_one_after_the_other_or_refused(content):
    try:
        claims = read_bytes(content).tensors
    except BadHeader as refused:
        refused.why.encode()
        return

    at = 0
    for claim in claims.values():
        assert claim.begin == at
        at = claim.end
    assert at == len(content) - 8 - int.from_bytes(content[:8], "little")


@given(st.data())
def test_a_byte_that_has_flipped_in_a_true_header_is_refused_or_means_no_other_bytes(data):
    content = bytearray(safetensors.torch.save({"a": torch.ones(2, 3), "b": torch.ones(4)}))
    place = data.draw(st.integers(0, len(content) - 41))
    content[place] = data.draw(st.integers(0, 255))

    try:
        claims = read_bytes(bytes(content)).tensors
    except BadHeader:
        return
    assert sum(claim.end - claim.begin for claim in claims.values()) == 40


@pytest.mark.parametrize(
    "content",
    [
        lying(json.dumps({str(number): "" for number in range(150_000)}).encode()),
        lying(b'{"a": [' + b"0," * (MOST_HEADER_BYTES // 2 - 20) + b"0]}"),
        (MOST_HEADER_BYTES * 400).to_bytes(8, "little") + b'{"a"',
    ],
    ids=["many names", "many numbers", "a header that is not there"],
)
def test_memory_stays_within_a_small_multiple_of_the_largest_header(content):
    tracemalloc.start()
    try:
        with pytest.raises(BadHeader):
            read_bytes(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < FLAT
