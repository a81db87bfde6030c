"""An ONNX model as a module like any other: pixels in, logits out, and nothing in it to be trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd.errors import GraphUnfit
from kd.models.onnx.said import Settings
from kd.models.onnx.session import Session
from kd.models.preprocess.network import as_bytes, normalised

SMALLEST = 1e-30
"""A probability of 0 has the logarithm of this."""


def state_of(content: bytes, settings: Settings) -> dict[str, Tensor]:
    """The weights of a network: its file, and what was said of it."""

    def as_tensor(text: bytes) -> Tensor:
        return torch.frombuffer(bytearray(text), dtype=torch.uint8)

    return {"file": as_tensor(content), "settings": as_tensor(settings.model_dump_json().encode())}


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Without weights it has no answer; `load_state_dict` gives it those that `state_of` has made."""
    return OnnxNetwork(classes)


AT_ONCE_BYTES = 1 << 24
"""Of images, that a model is asked about: it may see them much larger than the data set's own networks, by whose size
batches are made, and an answer has a deadline."""


class OnnxNetwork(nn.Module):
    """Float images [B, C, H, W] as the data set's own networks see them; logits [B, classes] in the data set's order.

    Its weights are the file, so that it is kept, resumed and lent as other models are. Raises `GraphUnfit` for an
    answer that does not come, or is none.
    """

    file: Tensor
    settings: Tensor

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes
        self.register_buffer("file", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("settings", torch.zeros(0, dtype=torch.uint8))
        self._session: Session | None = None
        self._settings: Settings | None = None

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        if pixels_BCHW.device.type == "meta":  # somebody reckons
            return pixels_BCHW.new_empty(len(pixels_BCHW), self.classes)
        settings = self.said()
        images = _as_it_sees_them(pixels_BCHW.float(), settings).cpu().numpy()
        answers_BC = torch.from_numpy(self._ask(images, settings.graph.batch)).to(pixels_BCHW.device)
        if settings.order is not None:
            answers_BC = answers_BC[:, list(settings.order)]
        if answers_BC.shape[1] != self.classes:
            raise GraphUnfit(f"it knows {answers_BC.shape[1]} classes, and the images have {self.classes}")
        return answers_BC.clamp_min(SMALLEST).log() if settings.gives == "probabilities" else answers_BC

    @property
    def is_loaded(self) -> bool:
        """Whether it has a file."""
        return self.file.numel() > 0

    def said(self) -> Settings:
        """What is known of the file."""
        if self._settings is None:
            self._settings = Settings.model_validate_json(self.settings.cpu().numpy().tobytes())
        return self._settings

    def _ask(self, images: NDArray[Any], at_once: int | None) -> NDArray[np.float32]:
        if self._session is None:
            self._session = Session(self.file.cpu().numpy().tobytes(), threads=torch.get_num_threads())
        if at_once is None:
            several = max(1, AT_ONCE_BYTES // images[0].nbytes)
            parts = [images[first : first + several] for first in range(0, len(images), several)]
            return np.concatenate([self._session.answer(part) for part in parts])
        answers = []
        for first in range(0, len(images), at_once):
            some = images[first : first + at_once]
            missing = at_once - len(some)
            answer = self._session.answer(np.pad(some, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge"))
            answers.append(answer[: len(some)])
        return np.concatenate(answers)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        # Of whatever length the file is.
        for name in ("file", "settings"):
            if (tensor := state_dict.get(prefix + name)) is not None:
                setattr(self, name, tensor.detach().clone())
        self._session = self._settings = None
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _as_it_sees_them(pixels_BCHW: Tensor, settings: Settings) -> Tensor:
    """From what the data set's own networks see to what this one does, which may be channels last."""
    graph, wanted = settings.graph, settings.preprocess
    bytes_BCHW = as_bytes(
        pixels_BCHW,
        channels=graph.channels,
        size=settings.size,
        interpolation=wanted.interpolation,
        given_mean=settings.given_mean,
        given_std=settings.given_std,
    )
    if graph.integers:
        seen_BCHW = bytes_BCHW.round().to(torch.uint8)
    else:
        seen_BCHW = normalised(bytes_BCHW, wanted)
        seen_BCHW = seen_BCHW.half() if graph.half else seen_BCHW
    return (seen_BCHW.permute(0, 2, 3, 1) if graph.channels_last else seen_BCHW).contiguous()
