"""ONNX files as somebody may bring them, made node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10


def linear(
    shape: Sequence[int | None] = (None, 1, 8, 8),
    *,
    kind: int = TensorProto.FLOAT,
    classes: int = CLASSES,
    weights: Any = None,
    ends_in: str | None = None,
    seed: int = 0,
) -> onnx.ModelProto:
    """Images in this shape (None: any), all their pixels into one linear layer [pixels, classes]; perhaps a last
    operator, such as Softmax."""
    pixels = int(np.prod([dim for dim in shape[1:] if dim is not None]))
    if weights is None:
        weights = np.random.default_rng(seed).normal(size=(pixels, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    if ends_in is not None:
        nodes.append(helper.make_node(ends_in, ["logits"], ["said"]))
    return model(nodes, shape, [numpy_helper.from_array(weights, "weights")], output=nodes[-1].output[0], kind=kind)


def model(
    nodes: list[Any],
    shape: Sequence[int | None],
    weights: list[Any],
    *,
    output: str,
    answer: Sequence[int | None] = (None, CLASSES),
    kind: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A graph of `images` in this shape and type, and an output."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("images", kind, _named(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, _named(answer))],
        weights,
    )
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _named(shape: Sequence[int | None]) -> list[int | str]:
    return [f"any{place}" if dim is None else dim for place, dim in enumerate(shape)]
