"""Files of safetensors as somebody may bring them: with a header that tells the truth, or any other."""

import json
from typing import Any


def lying(header: Any, content: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with this header, which is JSON or what stands for it, and these bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + content


def tensor(shape: Any = (2, 3), offsets: Any = (0, 24), dtype: Any = "F32", **more: Any) -> dict[str, Any]:
    """What a header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}
