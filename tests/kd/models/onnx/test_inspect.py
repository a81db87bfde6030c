"""An ONNX file is looked through before anything in it runs; what is no model of images is refused in words."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from kd.models.onnx import inspect
from kd.models.onnx.inspect import Unfit
from tests.support.models.onnx_files import linear, model

PIXELS = (None, 3, 8, 8)
WHOLE = linear().SerializeToString()


def with_far_weights():
    there = linear()
    tensor = there.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return there


def with_far_weights_in_a_branch():
    there = linear()
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["o"])], "then", [], [], [])
    tensor = branch.initializer.add()
    tensor.name, tensor.data_location = "hidden", TensorProto.EXTERNAL
    there.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    return there


def with_an_operator_of_its_own():
    node = helper.make_node("Explode", ["images"], ["o"], domain="com.example")
    return model([node], PIXELS, [], output="o", domains=["com.example"])


def of_two_inputs():
    there = linear()
    there.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    return there


def that_draws():
    node = helper.make_node("RandomNormal", [], ["o"], shape=[1, 10])
    return model([node, helper.make_node("Identity", ["images"], ["p"])], PIXELS, [], output="o")


def with_maps_only():
    return model([helper.make_node("Relu", ["images"], ["o"])], PIXELS, [], output="o", answer=PIXELS)


def with_nan():
    weights = np.zeros((64, 10), np.float32)
    weights[3, 4] = np.nan
    return linear(weights=weights)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (with_far_weights, "it keeps weights ('weights') in a second file: export it as one"),
        (with_far_weights_in_a_branch, "it keeps weights ('hidden') in a second file"),
        (with_an_operator_of_its_own, "it has operators of 'com.example', which is not standard"),
        (of_two_inputs, "it takes 2 inputs ('images', 'mask'), and an image is one"),
        (that_draws, "it draws random numbers (RandomNormal), so that it never says the same"),
        (with_maps_only, "none of its outputs ('o') is [batch, classes]"),
        (with_nan, "its weights 'weights' hold numbers that are not finite"),
        (lambda: linear((None, 64)), "its input has 2 dimensions, and images have four"),
        (lambda: linear((None, 7, 8, 8)), "its input is [any, 7, 8, 8]: which of these are the 1, 3 or 4 channels"),
        (lambda: linear(kind=TensorProto.INT64), "its input is of INT64, and not of float32, float16 or uint8"),
    ],
)
def test_what_is_no_model_that_could_teach_is_refused_in_words(made, why):
    with pytest.raises(Unfit) as caught:
        inspect.look(inspect.read(made().SerializeToString()))

    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"nonsense", WHOLE[: len(WHOLE) // 2]])
def test_what_is_no_onnx_file_is_refused(content):
    with pytest.raises(Unfit, match=r"it is no ONNX file|it breaks the rules of ONNX"):
        inspect.look(inspect.read(content))


@settings(max_examples=60)
@given(place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255), cut=st.integers(0, 200))
def test_a_spoilt_file_is_read_or_refused_and_nothing_else(place, byte, cut):
    spoilt = bytearray(WHOLE)
    spoilt[place] = byte
    del spoilt[place : place + cut % 3]

    with contextlib.suppress(Unfit):
        inspect.look(inspect.read(bytes(spoilt)))


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((None, 1, 8, 8), TensorProto.FLOAT, {"channels": 1, "size": (8, 8), "batch": None, "channels_last": False}),
        ((4, 3, 8, 6), TensorProto.FLOAT16, {"channels": 3, "size": (8, 6), "batch": 4, "half": True}),
        ((None, 8, 6, 3), TensorProto.UINT8, {"channels": 3, "size": (8, 6), "channels_last": True, "integers": True}),
    ],
)
def test_a_file_says_what_it_takes_and_what_it_costs(shape, kind, expected):
    graph = inspect.look(inspect.read(linear(shape, kind=kind).SerializeToString()))

    pixels = int(np.prod(shape[1:]))
    assert expected.items() <= graph.model_dump().items()
    assert (graph.classes, graph.parameters, graph.macs) == (10, 10 * pixels, 10 * pixels)


def test_a_size_that_is_open_is_open_and_of_several_outputs_the_logits_are_taken():
    pool = helper.make_node("GlobalAveragePool", ["images"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["other"], axis=1)
    weights = numpy_helper.from_array(np.ones((3, 10), np.float32), "w")
    there = model(
        [pool, flat, helper.make_node("MatMul", ["other", "w"], ["logits"])],
        (None, 3, None, None),
        [weights],
        output="logits",
    )
    there.graph.output.insert(0, helper.make_tensor_value_info("other", TensorProto.FLOAT, ["b", 3]))

    graph = inspect.look(inspect.read(there.SerializeToString()))

    assert (graph.size, graph.output, graph.classes) == (None, "logits", 10)
