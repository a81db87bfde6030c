"""A map-style data set, torch's `Dataset` and its like, as chunks of labelled images: pixels by stated rules.

An item is a pair (image, label), or a dict with `image` or `img`, and `label`. An image is

- a PIL image: gray (`1`, `L`, `LA`) or in colour (whatever PIL turns into RGB without loss of bits),
- a tensor of shape C×H×W or H×W, or
- an array of shape H×W×C or H×W;

of uint8, or of floats from 0 to 1, which are rounded to 255 steps. A label is an integer, or a tensor or array of one.
"""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kd.data.packing import Chunk
from kd.errors import KdError, first_line

CHUNK_BYTES = 1 << 22
GRAY, COLOUR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
# As many as images have that a network looks at; more are a side.
MOST_CHANNELS = 4

# Shapes: B = a chunk's images, H, W = height and width, C = channels.


class BadItem(KdError):
    """An item of a map-style data set, or the whole of one, that is no labelled image."""

    def __init__(self, place: str, why: str):
        super().__init__(f"{place[0].upper()}{place[1:]}: {why}.")


def check(dataset: Any, called: str) -> None:
    """Raise `BadItem` for what has no items by number."""
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        advice = ": give its dataset, which has images one by one" if hasattr(dataset, "batch_size") else ""
        raise BadItem(
            called,
            f"a {type(dataset).__name__} has no length and items by number, as map-style data sets have{advice}",
        )
    if isinstance(dataset, Mapping):
        raise BadItem(called, "a dict has no items by number: give (train, test), or (train, validation, test)")
    if len(dataset) == 0:
        raise BadItem(called, "it is empty")


def chunks(dataset: Any, split: int, called: str) -> Iterator[Chunk]:
    """Its images in their order, a few megabytes at a time. Each item is read once. Raises `BadItem`."""
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    shape = None
    for number in range(len(dataset)):
        image_HWC, label = read_item(dataset, number, called)
        shape = shape or image_HWC.shape
        if image_HWC.shape != shape:
            raise BadItem(
                f"Item {number} of {called}",
                f"its image is of {_size(image_HWC.shape)}, those before it are of {_size(shape)}; bring all to one "
                "size and as many channels in the data set's transform",
            )
        images.append(image_HWC)
        labels.append(label)
        if len(images) * image_HWC.nbytes >= CHUNK_BYTES:
            yield Chunk(np.stack(images), np.array(labels), split)
            images, labels = [], []
    if images:
        yield Chunk(np.stack(images), np.array(labels), split)


def read_item(dataset: Any, number: int, called: str) -> tuple[NDArray[np.uint8], int]:
    """An item's image, uint8 [H, W, C], and its label. Raises `BadItem`."""
    place = f"Item {number} of {called}"
    try:
        item = dataset[number]
    except Exception as error:  # it is somebody's code, which may do anything
        raise BadItem(place, f"to read it raises {type(error).__name__}: {first_line(error)}") from error
    if isinstance(item, Mapping):
        keys = [key for key in ("image", "img") if key in item]
        if len(keys) != 1 or "label" not in item:
            raise BadItem(place, f"it has the fields {', '.join(map(str, item))}; image (or img) and label are wanted")
        item = item[keys[0]], item["label"]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise BadItem(
            place,
            f"it is {_kind(item)}, and no pair (image, label); of a tensor of images and one of labels "
            "torch.utils.data.TensorDataset(images, labels) makes pairs",
        )
    return _pixels(item[0], place), _label(item[1], place)


def classes_of(dataset: Any) -> tuple[str, ...] | None:
    """The names of its classes as torchvision's data sets and Hugging Face's have them; a subset has its whole's."""
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    found = getattr(dataset, "classes", None)
    if found is None and isinstance(features := getattr(dataset, "features", None), Mapping):
        found = getattr(features.get("label"), "names", None)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else None


def _pixels(image: Any, place: str) -> NDArray[np.uint8]:
    if hasattr(image, "mode") and hasattr(image, "convert"):
        if image.mode not in (*GRAY, *COLOUR):
            raise BadItem(
                place, f"its image has the mode {image.mode}, and not 8 bits a channel: turn it into L or RGB"
            )
        found = np.asarray(image.convert("L" if image.mode in GRAY else "RGB"))
    elif isinstance(image, torch.Tensor):
        found = _of_tensor(image, place)
    elif isinstance(image, np.ndarray):
        found = image
        if found.ndim == 3 and found.shape[0] <= MOST_CHANNELS < found.shape[2]:
            shape = "×".join(map(str, found.shape))
            raise BadItem(place, f"its array of shape {shape} has the channels first: np.moveaxis(image, 0, -1)")
    else:
        raise BadItem(place, f"its image is {_kind(image)}, and no PIL image, tensor or array")
    if found.ndim not in (2, 3) or 0 in found.shape:
        raise BadItem(
            place, f"its image is of shape {'×'.join(map(str, found.shape)) or 'none'}, and not of two or three"
        )
    return _eight_bits(found if found.ndim == 3 else found[:, :, None], place)


def _of_tensor(image: torch.Tensor, place: str) -> NDArray[Any]:
    found = image.detach().cpu()
    if found.is_floating_point():
        found = found.float()  # numpy knows no bfloat16
    if found.ndim != 3:
        return found.numpy()
    if found.shape[2] <= MOST_CHANNELS < found.shape[0]:
        shape = "×".join(map(str, found.shape))
        raise BadItem(place, f"its tensor of shape {shape} has the channels last: image.permute(2, 0, 1)")
    return found.permute(1, 2, 0).numpy()


def _eight_bits(image_HWC: NDArray[Any], place: str) -> NDArray[np.uint8]:
    if image_HWC.dtype == np.uint8:
        return image_HWC
    if image_HWC.dtype.kind != "f":
        raise BadItem(place, f"its pixels are {image_HWC.dtype}; they must be uint8, or floats from 0 to 1")
    lowest, highest = float(image_HWC.min()), float(image_HWC.max())
    if not (lowest >= 0 and highest <= 1):  # nor are they if one is no number
        raise BadItem(
            place,
            f"its pixels go from {lowest:.4g} to {highest:.4g}; floats must be from 0 to 1, as ToTensor gives them: "
            "leave Normalize out of the data set's transform, and give its numbers as mean and std",
        )
    rounded: NDArray[np.uint8] = np.rint(image_HWC * 255).astype(np.uint8)
    return rounded


def _label(label: Any, place: str) -> int:
    if isinstance(label, torch.Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    try:
        number = operator.index(label)
    except TypeError:
        shape = getattr(label, "shape", None)
        kind = f"{_kind(label)} of shape {tuple(shape)}" if shape else _kind(label)
        raise BadItem(place, f"its label is {kind}, and no integer, the number of its class") from None
    if number < 0:
        raise BadItem(place, f"its label is {number}; labels count from 0")
    return number


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}×{width} pixels in {channels} {'channel' if channels == 1 else 'channels'}"


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
