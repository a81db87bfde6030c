"""An ONNX model runs in a process of its own, in time and in bounds, and is a module like any other."""

import copy
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kd.errors import GraphUnfit
from kd.models.onnx.network import OnnxNetwork, state_of
from kd.models.onnx.said import Settings
from kd.models.onnx.session import Session
from kd.models.preprocess.said import Preprocess
from kd.models.safetensors.facts import Facts
from kd.models.weights import load_model, save_weights
from tests.support.models.onnx_files import linear, model

WEIGHTS = np.random.default_rng(1).normal(size=(3 * 6 * 8, 10)).astype(np.float32)
IMAGES = np.random.default_rng(2).integers(0, 256, (7, 3, 6, 8)).astype(np.uint8)


@pytest.fixture
def session():
    made = []

    def session(file, **limits) -> Session:
        made.append(Session(file.SerializeToString(), **limits))
        return made[-1]

    yield session
    for one in made:
        one.close()


def without_end():
    """A loop of 2⁶² turns."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Add", ["x", "x"], ["y"])],
        "turn",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    weights = [
        numpy_helper.from_array(np.array(1 << 62, np.int64), "turns"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("Loop", ["turns", "yes", "flat"], ["said"], body=turn),
    ]
    return model(nodes, (None, 1, 1, 10), weights, output="said")


def test_images_go_in_and_numbers_come_out_as_often_as_one_likes(session):
    there = session(linear((None, 3, 6, 8), weights=WEIGHTS))

    for count in (7, 1, 3):
        said = there.answer(IMAGES[:count].astype(np.float32))
        np.testing.assert_allclose(said, IMAGES[:count].reshape(count, -1) @ WEIGHTS, rtol=1e-4)


def test_a_model_that_never_answers_is_ended_after_its_time(session):
    there = session(without_end())
    there.open()
    process = there._process

    with pytest.raises(GraphUnfit, match=r"it had no answer for 1 images within 0\.2 seconds"):
        there.answer(np.zeros((1, 1, 1, 10), np.float32), seconds=0.2)

    assert process.poll() is not None, "nothing of it is left"


def test_a_model_that_needs_more_memory_than_it_may_have_is_refused_in_words(session):
    shape = numpy_helper.from_array(np.array([1, 1 << 33], np.int64), "shape")
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("ReduceSum", ["flat"], ["sum"], keepdims=1),
        helper.make_node("Expand", ["sum", "shape"], ["wide"]),
        helper.make_node("ReduceSum", ["wide"], ["said"], keepdims=1),
    ]
    there = session(model(nodes, (None, 1, 1, 10), [shape], output="said"), memory_bytes=4 << 30)

    with pytest.raises(GraphUnfit, match="it needs more memory than it may have"):
        there.answer(np.zeros((1, 1, 1, 10), np.float32))


def test_a_process_that_was_killed_is_told_apart_from_a_model_that_is_wrong(session):
    there = session(linear((None, 3, 6, 8), weights=WEIGHTS))
    there.open()
    os.kill(there._process.pid, signal.SIGKILL)

    with pytest.raises(GraphUnfit, match="the process it ran in was ended by signal 9"):
        there.answer(IMAGES.astype(np.float32))


def settings_of(session: Session, preprocess: Preprocess, *, size=(6, 8), **other) -> Settings:
    return Settings(
        graph=session.open(), preprocess=preprocess, size=size, given_mean=(0.3,) * 3, given_std=(0.2,) * 3, **other
    )


def network_of(file, settings: Settings) -> OnnxNetwork:
    network = OnnxNetwork(10)
    network.load_state_dict(state_of(file.SerializeToString(), settings))
    return network.eval()


def as_the_data_sets_own_networks_see_them(images) -> torch.Tensor:
    return (torch.from_numpy(images).float() / 255 - 0.3) / 0.2


@pytest.mark.parametrize(
    ("shape", "kind", "preprocess", "seen"),
    [
        ((None, 3, 6, 8), TensorProto.FLOAT, Preprocess(), lambda images: images / 255),
        ((None, 3, 6, 8), TensorProto.FLOAT, Preprocess(scale=1), lambda images: images),
        (
            (None, 3, 6, 8),
            TensorProto.FLOAT,
            Preprocess(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)),
            lambda images: (
                (images / 255 - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 0.6, 0.7])[:, None, None]
            ),
        ),
        ((None, 6, 8, 3), TensorProto.UINT8, Preprocess(scale=1), lambda images: images.transpose(0, 2, 3, 1)),
        ((2, 3, 6, 8), TensorProto.FLOAT, Preprocess(), lambda images: images / 255),
    ],
    ids=["0..1", "0..255", "of ImageNet's kind", "uint8, channels last", "two images at a time"],
)
def test_whatever_a_model_wants_to_see_it_sees(session, shape, kind, preprocess, seen):
    file = linear(shape, kind=kind, weights=WEIGHTS)
    network = network_of(file, settings_of(session(file), preprocess))

    said = network(as_the_data_sets_own_networks_see_them(IMAGES))

    expected = seen(IMAGES.astype(np.float64)).reshape(len(IMAGES), -1) @ WEIGHTS
    np.testing.assert_allclose(said.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_images_of_another_size_are_resized_and_gray_ones_become_three_channels(session):
    file = linear((None, 3, 6, 8), weights=WEIGHTS)
    settings = settings_of(session(file), Preprocess()).model_copy(update={"given_mean": (0.3,), "given_std": (0.2,)})
    gray = np.full((2, 1, 12, 16), 100, np.uint8)

    said = network_of(file, settings)(as_the_data_sets_own_networks_see_them(gray))

    expected = np.full((2, 3 * 6 * 8), 100 / 255) @ WEIGHTS
    np.testing.assert_allclose(said.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_probabilities_become_logits_and_classes_take_the_data_sets_order(session):
    file = linear((None, 3, 6, 8), weights=WEIGHTS / 1_000, ends_in="Softmax")
    order = (3, 1, 2, 0, 4, 5, 6, 7, 8, 9)
    network = network_of(file, settings_of(session(file), Preprocess(), gives="probabilities", order=order))

    said = network(as_the_data_sets_own_networks_see_them(IMAGES))

    logits = torch.from_numpy((IMAGES / 255).reshape(7, -1) @ (WEIGHTS / 1_000))[:, list(order)]
    torch.testing.assert_close(said.softmax(1), logits.softmax(1).float(), rtol=1e-4, atol=1e-5)


def test_it_is_copied_saved_and_read_as_any_model_is(session, tmp_path):
    file = linear((None, 3, 6, 8), weights=WEIGHTS)
    network = network_of(file, settings_of(session(file), Preprocess()))
    pixels = as_the_data_sets_own_networks_see_them(IMAGES)
    said = network(pixels)
    facts = Facts(arch="onnx", classes=tuple("abcdefghij"), shape=(3, 6, 8), mean=(0.3,) * 3, std=(0.2,) * 3)

    save_weights(network.state_dict(), facts, tmp_path, Path("teacher.safetensors"))
    read, _ = load_model(tmp_path / "teacher.safetensors")

    assert torch.equal(copy.deepcopy(network)(pixels), said)
    assert torch.equal(read(pixels), said)
    assert network(torch.empty(5, 3, 6, 8, device="meta")).shape == (5, 10)
