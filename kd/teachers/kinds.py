"""The kinds of files that a teacher may come as, told by their first bytes; of all others it is said what to do.

An ONNX model is an architecture and its weights, and is run as it is (`kd.teachers.onnx`). Safetensors are weights
alone, for a network that is built here (`kd.teachers.safetensors`). Whatever holds code is refused. No torch, no onnx.
"""

from typing import IO, Literal

from kd.errors import KdError

Kind = Literal["onnx", "safetensors"]

FILE_NAMES: dict[Kind, str] = {"onnx": "model.onnx", "safetensors": "model.safetensors"}
"""As which each kind is kept."""

LARGEST_BYTES = 2 << 30
"""Of a file; what protobuf can read in one piece."""


class NotTaken(KdError):
    """What was brought is no teacher; `why` is a clause that says what to do."""

    def __init__(self, why: str):
        super().__init__(f"The teacher is not taken: {why}.")
        self.why = why


EXPORT = "export the model as ONNX, `torch.onnx.export(model, (images,), 'model.onnx', external_data=False)`"
CONVERT = (
    f"{EXPORT}, or save its weights alone, `safetensors.torch.save_file(model.state_dict(), 'model.safetensors')`, and "
    "say of which architecture they are"
)
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (ZIP, f"it is a zip file, as torch.save, TorchScript and .pt2 write them; they hold code: {CONVERT}"),
    (PICKLE, f"it is a pickle, which is code: {CONVERT}"),
    (b"\x89HDF", "it is an HDF5 file, as Keras writes them: convert it with tf2onnx"),
    (b"GGUF", f"it is a GGUF file, which has the weights of a language model: {CONVERT}"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
)
TFLITE = b"TFL3"


def is_torchs(file: IO[bytes]) -> bool:
    """Whether torch.save may have written a file, which is read from its beginning, and left there."""
    file.seek(0)
    beginning = file.read(len(ZIP))
    file.seek(0)
    return beginning.startswith((ZIP, PICKLE))


def kind_of(file: IO[bytes]) -> Kind:
    """Of a file that is read from its beginning, and left there; what has no mark of its own may be ONNX.

    Raises `NotTaken`.
    """
    file.seek(0)
    beginning = file.read(64)
    file.seek(0)
    if not beginning:
        raise NotTaken("the file is empty")
    # A length and JSON. Before the others, since a length may begin as they do; and of any length if what follows is
    # surely JSON, so that a header that lies is called one.
    length = int.from_bytes(beginning[:8], "little")
    if beginning[8:10] == b'{"' or (beginning[8:9] == b"{" and length < LARGEST_BYTES):
        return "safetensors"
    for mark, why in OTHER_KINDS:
        if beginning.startswith(mark):
            raise NotTaken(why)
    if beginning[4:8] == TFLITE:
        raise NotTaken("it is a TensorFlow Lite file: convert it with tf2onnx")
    return "onnx"
