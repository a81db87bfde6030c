"""A picture of an image of the data set, small enough to be part of a page."""

import base64

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd.report.pictures import png

LARGEST = 48  # pixels of the longer side: two dozen of them stay below 200 kB

# Shapes: C = channels, H, W = height and width.


def data_uri(image_HWC: NDArray[np.uint8]) -> str:
    """uint8 [H, W, C] as the URI of a PNG, made smaller where it is large; a smaller one is left as it is.

    Of three channels or more the first three are red, green and blue; of fewer the first is shown as gray.
    """
    shown = Image.fromarray(image_HWC[..., :3] if image_HWC.shape[2] >= 3 else image_HWC[..., 0])
    if (longer := max(shown.size)) > LARGEST:
        width, height = (max(1, round(length * LARGEST / longer)) for length in shown.size)
        shown = shown.resize((width, height), Image.Resampling.BILINEAR)
    width, height = shown.size
    content = png.encode(shown.tobytes(), width=width, height=height, channels=len(shown.getbands()))
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
