"""A picture of an image of the data set, small enough to be part of a page."""

import base64

import torch.nn.functional as F
from torch import Tensor

from kd.report.pictures import png

LARGEST = 48  # pixels of the longer side: two dozen of them stay below 200 kB

# Shapes: C = channels, H, W = height and width.


def data_uri(image_CHW: Tensor) -> str:
    """uint8 [C, H, W] as the URI of a PNG, made smaller where it is large; a smaller one is left as it is.

    Of three channels or more the first three are red, green and blue; of fewer the first is shown as grey.
    """
    shown_CHW = image_CHW[:3] if len(image_CHW) >= 3 else image_CHW[:1]
    channels, height, width = shown_CHW.shape
    if (longer := max(height, width)) > LARGEST:
        side = [max(1, round(length * LARGEST / longer)) for length in (height, width)]
        smaller_1CHW = F.interpolate(shown_CHW[None].float(), side, mode="bilinear", antialias=True)
        shown_CHW = smaller_1CHW[0].round().clamp(0, 255).byte()
        _, height, width = shown_CHW.shape
    pixels = shown_CHW.permute(1, 2, 0).contiguous().numpy().tobytes()
    content = png.encode(pixels, width=width, height=height, channels=channels)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
