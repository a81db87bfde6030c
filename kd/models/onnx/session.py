"""An ONNX model at work in a process of its own, as its user sees it: images in, numbers out, in time. No torch."""

import contextlib
import json
import os
import select
import subprocess
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd.errors import GraphLost, GraphUnfit
from kd.machine import child
from kd.models.onnx.said import Graph

LOAD_SECONDS = 300.0
ANSWER_SECONDS = 300.0
"""For a batch: a model that takes longer would label for days."""


class Session:
    """Started when it is needed first, and ended with whoever has it."""

    def __init__(self, content: bytes, *, threads: int = 1, memory_bytes: int | None = None):
        self._content, self._threads, self._memory_bytes = content, threads, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._graph: Graph | None = None
        self._rest = b""
        self.took_seconds = 0.0
        """For its last answer, in its own process."""

    def open(self) -> Graph:
        """What the file says of itself. Raises `GraphUnfit`."""
        if self._graph is not None:
            return self._graph
        self._process = child.start("kd.models.onnx.child", own_group=False)
        order = {"bytes": len(self._content), "threads": self._threads, "memory_bytes": self._memory_bytes}
        line, _ = self._ask(order, self._content, LOAD_SECONDS, "was not loaded")
        self._graph = Graph.model_validate(line["graph"])
        return self._graph

    def answer(self, images: NDArray[Any], *, seconds: float = ANSWER_SECONDS) -> NDArray[np.float32]:
        """Its numbers [B, classes] for images in the shape and type that it takes. Raises `GraphUnfit`."""
        self.open()
        images = np.ascontiguousarray(images)
        line, content = self._ask({"shape": images.shape}, images.data, seconds, f"took for {len(images)} images")
        shape, self.took_seconds = line["shape"], line["seconds"]
        if len(shape) != 2 or shape[0] != len(images):
            raise GraphUnfit(f"of {len(images)} images it says numbers in the shape {shape}: not [batch, classes]")
        return np.frombuffer(content, np.float32).reshape(shape)

    def close(self) -> None:
        """End the process."""
        process, self._process, self._graph, self._rest = self._process, None, None, b""
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()  # type: ignore[union-attr]

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be at its end
            self.close()

    def __deepcopy__(self, memo: object) -> "Session":
        return Session(self._content, threads=self._threads, memory_bytes=self._memory_bytes)

    def _ask(self, line: dict[str, Any], content: Any, seconds: float, what: str) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + seconds
        try:
            self._send(memoryview(json.dumps(line).encode() + b"\n"), deadline)
            self._send(memoryview(content).cast("B"), deadline)
            said = json.loads(self._until(b"\n", deadline))
            if "unfit" in said:
                raise GraphUnfit(said["unfit"])
            return said, self._exactly(said.get("bytes", 0), deadline)
        except TimeoutError:
            raise GraphLost(f"it {what} within {seconds:g} seconds".replace("took for", "had no answer for")) from None
        except (BrokenPipeError, EOFError):
            assert self._process is not None
            code = self._process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            raise GraphLost(
                f"the process it ran in {how}, for want of memory perhaps, or by a fault of onnxruntime"
            ) from None
        finally:
            if time.monotonic() > deadline:
                self.close()

    def _send(self, content: memoryview, deadline: float) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        into = self._process.stdin.fileno()
        os.set_blocking(into, False)
        while content:
            if not select.select((), (into,), (), max(0.0, deadline - time.monotonic()))[1]:
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                content = content[os.write(into, content[: 1 << 20]) :]

    def _until(self, mark: bytes, deadline: float) -> bytes:
        while mark not in self._rest:
            self._rest += self._more(deadline)
        line, _, self._rest = self._rest.partition(mark)
        return line

    def _exactly(self, count: int, deadline: float) -> bytes:
        parts, there = [self._rest], len(self._rest)
        while there < count:
            parts.append(self._more(deadline))
            there += len(parts[-1])
        whole = b"".join(parts)
        self._rest = whole[count:]
        return whole[:count]

    def _more(self, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        out_of = self._process.stdout.fileno()
        if not select.select((out_of,), (), (), max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        if not (more := os.read(out_of, 1 << 20)):
            raise EOFError
        return more
