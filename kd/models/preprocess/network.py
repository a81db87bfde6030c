"""Images as a model that was made elsewhere wants to see them, and a network behind what makes them so."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd.models.preprocess.said import Colour, Interpolation, Preprocess, Sight

SIGHT = "stillhouse_sight"
"""The name under which a network's weights hold how it sees."""
NETWORK = "network."
"""What stands before the names of its own weights, which are those of `Preprocessed`."""


def as_bytes(
    pixels_BCHW: Tensor,
    *,
    channels: int,
    size: tuple[int, int],
    interpolation: Interpolation,
    given_mean: Colour,
    given_std: Colour,
) -> Tensor:
    """From what a data set's own networks see to pixels in 0..255, not rounded: [B, channels, *size].

    Gray images become so many equal channels.
    """
    seen_BCHW = pixels_BCHW * _of_channels(given_std, pixels_BCHW) + _of_channels(given_mean, pixels_BCHW)
    seen_BCHW = in_channels(seen_BCHW, channels)
    if tuple(seen_BCHW.shape[2:]) != size:
        smooth: dict[str, Any] = {} if interpolation == "nearest" else {"antialias": True, "align_corners": False}
        seen_BCHW = functional.interpolate(seen_BCHW, size, mode=interpolation, **smooth)
    return seen_BCHW.clamp(0, 1) * 255


def in_channels(pixels_BCHW: Tensor, channels: int) -> Tensor:
    """Gray images as so many equal channels; others as they are."""
    if pixels_BCHW.shape[1] == 1 < channels:
        return pixels_BCHW.expand(-1, channels, -1, -1)
    return pixels_BCHW


def normalised(bytes_BCHW: Tensor, wanted: Preprocess) -> Tensor:
    """Of pixels in 0..255 what the model sees."""
    mean, std = _of_channels(wanted.mean, bytes_BCHW), _of_channels(wanted.std, bytes_BCHW)
    return (bytes_BCHW / wanted.scale - mean) / std


def _of_channels(numbers: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(numbers, device=like.device).view(1, -1, 1, 1)


class Preprocessed(nn.Module):
    """A network that has learnt from images that were shown in another way: it sees those of a data set as it saw them.

    Takes what the data set's own networks take, and gives logits [B, C] in its order of classes. How it sees is one of
    its weights, so that it is kept, resumed and lent with them, and whoever sees otherwise is another model.
    """

    def __init__(self, network: nn.Module, sight: Sight):
        super().__init__()
        self.network, self.sight = network, sight
        content = torch.frombuffer(bytearray(sight.model_dump_json().encode()), dtype=torch.uint8)
        self.register_buffer(SIGHT, content)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        answers_BC: Tensor = self.network(self._seen(pixels_BCHW))
        return answers_BC if self.sight.order is None else answers_BC[:, list(self.sight.order)]

    def _seen(self, pixels_BCHW: Tensor) -> Tensor:
        sight = self.sight
        if sight.preprocess is None:
            return in_channels(pixels_BCHW, sight.channels)
        bytes_BCHW = as_bytes(
            pixels_BCHW,
            channels=sight.channels,
            size=sight.size,
            interpolation=sight.preprocess.interpolation,
            given_mean=sight.given_mean,
            given_std=sight.given_std,
        )
        return normalised(bytes_BCHW, sight.preprocess)


def sight_in(state: dict[str, Tensor]) -> Sight | None:
    """How the network with these weights sees; None: as the data set's own networks do."""
    if (content := state.get(SIGHT)) is None:
        return None
    return Sight.model_validate_json(content.cpu().numpy().tobytes())


def within(model: nn.Module) -> nn.Module:
    """The network itself, whose parts have the names that its architecture gives them."""
    while isinstance(model, Preprocessed):
        model = model.network
    return model
