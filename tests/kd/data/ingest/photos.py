"""Small photos, encoded: smooth, so that JPEG keeps them, and no two alike."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def photo(seed: int, height: int = 24, width: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """uint8 [height, width, channels], or [height, width] for one channel."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 5, channels), np.uint8)
    image = Image.fromarray(few[..., 0] if channels == 1 else few).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def encoded(image: NDArray[np.generic] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()
