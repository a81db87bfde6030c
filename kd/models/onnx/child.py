"""The process in which an ONNX model runs: `python -m kd.models.onnx.child`. It loads no torch.

Its parent sends a line of JSON and after it so many bytes, again and again: first the file, then images. It answers in
the same way. The file may be anybody's: memory has a limit, and whoever waits for an answer has a deadline.
"""

import json
import os
import resource
import sys
import time
from typing import IO, Any

from kd.machine.child import Lifeline


def main() -> int:
    """Answer until the parent lets go."""
    # Ours alone: what libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    Lifeline(reads=False)
    asked = sys.stdin.buffer
    order = json.loads(asked.readline())
    if (most := order["memory_bytes"]) is not None:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    content = asked.read(order["bytes"])

    import numpy as np
    import onnxruntime

    from kd.models.onnx import inspect

    try:
        model = inspect.read(content)
        graph = inspect.look(model)
        del model
        session = _session(onnxruntime, content, order["threads"])
    except inspect.Unfit as error:
        _say(answers, {"unfit": str(error)})
        return 1
    except Exception as error:  # onnxruntime has a dozen kinds, none of them public
        _say(answers, {"unfit": inspect.in_words(error)})
        return 1
    _say(answers, {"graph": graph.model_dump(), "on": session.get_providers()[0]})
    kind = np.dtype(np.uint8 if graph.integers else np.float16 if graph.half else np.float32)

    while line := asked.readline():
        shape = json.loads(line)["shape"]
        images = np.frombuffer(asked.read(int(np.prod(shape)) * kind.itemsize), kind).reshape(shape)
        began = time.perf_counter()
        try:
            (said,) = session.run([graph.output], {graph.input: images})
            seconds = time.perf_counter() - began
            said = np.ascontiguousarray(said, dtype=np.float32)
        except Exception as error:
            _say(answers, {"unfit": inspect.in_words(error)})
            continue
        _say(answers, {"shape": said.shape, "bytes": said.nbytes, "seconds": seconds}, said.tobytes())
    return 0


def _session(runtime: Any, content: bytes, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what is wrong is said in our words
    wanted = [
        one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in runtime.get_available_providers()
    ]
    return runtime.InferenceSession(content, options, providers=wanted)


def _say(answers: IO[bytes], line: dict[str, Any], content: bytes = b"") -> None:
    whole = memoryview(json.dumps(line).encode() + b"\n" + content)
    while whole:
        whole = whole[answers.write(whole) :]


if __name__ == "__main__":
    sys.exit(main())
