"""Look an ONNX file through before anything in it runs. For the child process alone: the file may be anybody's."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from kd.models.onnx.said import Graph

STANDARD = {"", "ai.onnx", "ai.onnx.ml"}
MOST_NODES = 200_000
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
NO_MEMORY = ("bad_alloc", "bfc_arena", "BFCArena", "Failed to allocate memory")
FLOATS = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.DOUBLE: 8, TensorProto.BFLOAT16: 2}


class Unfit(Exception):
    """Why a file is no model that could teach, as a clause."""


def read(content: bytes) -> onnx.ModelProto:
    """The model in a file, local functions written out. Raises `Unfit`."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # of whatever protobuf has a name for
        raise Unfit("it is no ONNX file, or one that was cut off") from error
    if not model.graph.node:
        raise Unfit("it is no ONNX file, or one without a graph")
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise Unfit(
                f"it keeps weights ({_quoted(tensor.name)}) in a second file: export it as one "
                "(torch.onnx.export(…, external_data=False), or onnx.save(onnx.load(…), …))"
            )
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    if (count := sum(1 for _ in _nodes(model.graph))) > MOST_NODES:
        raise Unfit(f"it has {count:,} operators, and {MOST_NODES:,} are the limit")
    foreign = sorted({node.domain for node in _nodes(model.graph)} - STANDARD)
    if foreign:
        raise Unfit(
            f"it has operators of {_quoted(foreign[0])}, which is not standard: export it without operators of its own"
        )
    if chance := sorted({node.op_type for node in _nodes(model.graph)} & RANDOM):
        raise Unfit(f"it draws random numbers ({chance[0]}), so that it never says the same: export it in eval mode")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise Unfit(f"it breaks the rules of ONNX: {_first_line(error)}") from error
    return model


def look(model: onnx.ModelProto) -> Graph:
    """What it takes and gives, and what it costs. Raises `Unfit`."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise Unfit(f"it takes {len(inputs)} inputs ({_names(inputs)}), and an image is one")
    kind, dims = inputs[0].type.tensor_type.elem_type, _dims(inputs[0])
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8):
        raise Unfit(f"its input is of {TensorProto.DataType.Name(kind)}, and not of float32, float16 or uint8")
    if len(dims) != 4:
        raise Unfit(f"its input has {len(dims)} dimensions, and images have four: batch, channels, height, width")
    channels_last = dims[1] not in (1, 3, 4) and dims[3] in (1, 3, 4)
    channels = dims[3] if channels_last else dims[1]
    if channels is None or channels > 4:
        raise Unfit(f"its input is {_shape(dims)}: which of these are the 1, 3 or 4 channels of an image?")

    height, width = (dims[1], dims[2]) if channels_last else (dims[2], dims[3])
    if (height is None) != (width is None):
        raise Unfit(f"its input is {_shape(dims)}: height and width must both be given, or both be open")
    output, classes = _output(model)
    return Graph(
        input=inputs[0].name,
        output=output,
        integers=kind == TensorProto.UINT8,
        half=kind == TensorProto.FLOAT16,
        channels_last=channels_last,
        channels=channels,
        size=None if height is None or width is None else (height, width),
        batch=dims[0],
        classes=classes,
        parameters=_count_parameters(model),
        macs=_count_macs(model, dims),
        opset=max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0),
    )


def _output(model: onnx.ModelProto) -> tuple[str, int | None]:
    """The output that holds an answer for each image: named logits, else the first of [batch, classes]."""
    fit = [one for one in model.graph.output if len(_dims(one)) in (0, 2)]
    if not fit:
        raise Unfit(f"none of its outputs ({_names(model.graph.output)}) is [batch, classes], a number for each class")
    chosen = next((one for one in fit if one.name == "logits"), fit[0])
    dims = _dims(chosen)
    return chosen.name, dims[1] if len(dims) == 2 else None


def _count_parameters(model: onnx.ModelProto) -> int:
    """Numbers that were learnt, all of them finite. Raises `Unfit`."""
    count = 0
    for tensor in _tensors(model.graph):
        if tensor.data_type not in FLOATS:
            continue
        values = np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)
        if not np.isfinite(values).all():
            raise Unfit(f"its weights {_quoted(tensor.name)} hold numbers that are not finite")
        count += values.size
    return count


def _count_macs(model: onnx.ModelProto, dims: list[int | None]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image, where shapes can be told."""
    known = onnx.ModelProto()
    known.CopyFrom(model)
    batch = next(one for one in known.graph.input if len(_dims(one)) == 4).type.tensor_type.shape.dim[0]
    if not batch.HasField("dim_value"):
        batch.Clear()
        batch.dim_value = 1
    try:
        known = onnx.shape_inference.infer_shapes(known, data_prop=True)
    except Exception:  # nobody can tell
        return 0
    shapes: dict[str, list[int | None]] = {one.name: list(one.dims) for one in known.graph.initializer}
    for value in (*known.graph.value_info, *known.graph.input, *known.graph.output):
        shapes[value.name] = _dims(value)
    total = 0
    for node in known.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or not node.output:
            continue
        out, other = shapes.get(node.output[0], []), shapes.get(node.input[1], [])
        inner = _inner(node, other)
        if not out or inner is None or any(dim is None for dim in out):
            return 0
        total += int(np.prod([dim or 0 for dim in out], dtype=np.int64)) * inner
    return total // (dims[0] or 1)


def _inner(node: Any, other: list[int | None]) -> int | None:
    """How many products each number of the outcome is a sum of."""
    if node.op_type == "Conv":
        dims = other[1:]
    elif node.op_type == "Gemm":
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        dims = other[1:2] if transposed else other[:1]
    else:
        dims = other[-2:-1]
    if not dims or any(dim is None for dim in dims):
        return None
    return int(np.prod([dim or 0 for dim in dims], dtype=np.int64))


def _nodes(graph: Any) -> Iterator[Any]:
    """All of a graph and of the graphs in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """All weights and constants of a graph and of the graphs in it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _dims(value: Any) -> list[int | None]:
    """Of an input or an output; None: any."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _shape(dims: list[int | None]) -> str:
    return "[" + ", ".join("any" if dim is None else str(dim) for dim in dims) + "]"


def _names(values: Any) -> str:
    return ", ".join(_quoted(one.name) for one in list(values)[:4]) or "none"


def _quoted(name: str) -> str:
    return repr(name[:80])


def in_words(error: Exception) -> str:
    """What onnxruntime says of an error, as far as it is of use."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY):
        return "it needs more memory than it may have"
    return f"onnxruntime cannot run it: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
