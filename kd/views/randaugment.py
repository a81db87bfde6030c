"""RandAugment's operations (Cubuk et al., 2020) on a whole batch, in whole numbers: the same bits on every device.

Every image has an operation of its own. There are three ways to change an image: each value by a curve, each pixel's
place by a matrix, each pixel by a blend with its surroundings or its grey. All images that change go all three ways,
two of which leave an image as it is: so nothing depends on which operations a batch holds, and the host never waits for
a device.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from kd.randomness import below, splitmix64
from kd.views.mixup import WHOLE, blend

OPERATIONS = (
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    # From here on the sign of a magnitude means nothing, and is never drawn.
    "identity",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
SIGNED = NUMBER["identity"]
# The strongest magnitude; the ranges up to it are torchvision's.
STRONGEST = 30

# Shapes: B = batch, C = channels, H, W = height and width; P = H·W pixels, V = 256 values.


def draw(key_B: Tensor, magnitude: int) -> Tensor:
    """An operation's number and its magnitude, either sign as likely, drawn from a key: int64 [B, 2]."""
    ticket_B = below(2 * len(OPERATIONS), splitmix64(key_B))
    operation_B, negative_B = ticket_B // 2, ticket_B % 2
    sign_B = torch.where(operation_B < SIGNED, 1 - 2 * negative_B, 1)
    return torch.stack([operation_B, magnitude * sign_B], dim=1)


def apply(images_BCHW: Tensor, operation_B: Tensor, magnitude_B: Tensor) -> Tensor:
    """One operation on each image, uint8 to uint8; magnitudes are -30..30, and new pixels are black."""
    # On a CPU nobody waits to hear which images stay as they are: the weak ones of pairs, which are half of them.
    if images_BCHW.device.type == "cpu" and (stays_B := operation_B == NUMBER["identity"]).any():
        changed_B = (~stays_B).nonzero().squeeze(1)
        changed = images_BCHW[changed_B], operation_B[changed_B], magnitude_B[changed_B]
        return images_BCHW.index_copy(0, changed_B, apply(*changed)) if len(changed_B) else images_BCHW
    curved_BCP = _curved(images_BCHW.flatten(2), operation_B, magnitude_B)
    moved_BCHW = _moved(curved_BCP.view(images_BCHW.shape), operation_B, magnitude_B)
    return _blended(moved_BCHW, operation_B, magnitude_B)


def _curved(images_BCP: Tensor, operation_B: Tensor, magnitude_B: Tensor) -> Tensor:
    """Brightness, contrast, posterize, solarize, autocontrast, equalize: a new value for every value of a channel."""
    value_BCP = images_BCP.long()
    ones_BCP = torch.ones((), dtype=torch.int32, device=images_BCP.device).expand_as(value_BCP)
    count_BCV = ones_BCP.new_zeros(*images_BCP.shape[:2], 256).scatter_add_(2, value_BCP, ones_BCP)
    operation_B11 = operation_B[:, None, None]
    curve_BCV = _fixed_curves(images_BCP.device)[operation_B, magnitude_B + STRONGEST][:, None]
    for name, curve in (
        ("contrast", _contrast(count_BCV, _factor(magnitude_B))),
        ("autocontrast", _autocontrast(count_BCV)),
        ("equalize", _equalize(count_BCV)),
    ):
        curve_BCV = torch.where(operation_B11 == NUMBER[name], curve, curve_BCV)
    return curve_BCV.gather(2, value_BCP)


@lru_cache(maxsize=8)  # so that a CUDA device gets them once, not at every batch
def _fixed_curves(device: torch.device) -> Tensor:
    """The curves that ask for no image, uint8 [operations, 61 magnitudes, V]; the identity's for all the others."""
    value_V = torch.arange(256)
    magnitude_M1 = torch.arange(-STRONGEST, STRONGEST + 1)[:, None]
    curves = value_V.to(torch.uint8).repeat(len(OPERATIONS), len(magnitude_M1), 1)
    curves[NUMBER["brightness"]] = blend(value_V, torch.zeros_like(value_V), _factor(magnitude_M1))
    dropped_M1 = (4 * magnitude_M1.abs() + STRONGEST // 2) // STRONGEST  # of the 8 bits, up to 4
    curves[NUMBER["posterize"]] = (value_V >> dropped_M1 << dropped_M1).to(torch.uint8)
    threshold_M1 = 256 - (256 * magnitude_M1.abs() + STRONGEST // 2) // STRONGEST
    curves[NUMBER["solarize"]] = torch.where(value_V < threshold_M1, value_V, 255 - value_V).to(torch.uint8)
    return curves.to(device)


def _contrast(count_BCV: Tensor, factor_B: Tensor) -> Tensor:
    """Away from or towards the image's mean grey."""
    value_V = _values(count_BCV.device)
    total_B = _grey((count_BCV * value_V).sum(dim=2))
    pixels_B = count_BCV[:, 0].sum(dim=1)
    mean_B = (2 * total_B + pixels_B) // (2 * pixels_B)
    return blend(value_V, mean_B[:, None, None], factor_B[:, None, None])


def _autocontrast(count_BCV: Tensor) -> Tensor:
    """The darkest value of a channel becomes 0, the lightest 255; a channel of one value stays."""
    value_V = _values(count_BCV.device)
    seen_BCV = count_BCV > 0
    low_BC1 = value_V.where(seen_BCV, 255).amin(dim=2, keepdim=True)
    high_BC1 = value_V.where(seen_BCV, 0).amax(dim=2, keepdim=True)
    stretched_BCV = (255 * (value_V - low_BC1) // (high_BC1 - low_BC1).clamp(min=1)).clamp_(0, 255)
    return torch.where(low_BC1 < high_BC1, stretched_BCV, value_V).to(torch.uint8)


def _equalize(count_BCV: Tensor) -> Tensor:
    """Every value becomes the share of a channel's pixels that are darker, of 255, counted as PIL counts."""
    darker_BCV = count_BCV.cumsum(dim=2, dtype=torch.int32) - count_BCV
    # Those that are not the lightest make the steps; too few of them leave the channel as it is.
    step_BC1 = darker_BCV.where(count_BCV > 0, 0).amax(dim=2, keepdim=True) // 255
    share_BCV = ((darker_BCV + step_BC1 // 2) // step_BC1.clamp(min=1)).clamp_(max=255)
    return torch.where(step_BC1 > 0, share_BCV, _values(count_BCV.device)).to(torch.uint8)


def _values(device: torch.device) -> Tensor:
    return torch.arange(256, dtype=torch.int32, device=device)


def _moved(images_BCHW: Tensor, operation_B: Tensor, magnitude_B: Tensor) -> Tensor:
    """Shear, translate, rotate: every pixel is the nearest one of where it comes from."""
    height, width = images_BCHW.shape[2:]
    device = images_BCHW.device
    matrix_B6 = _matrices(height, width, device)[operation_B, magnitude_B + STRONGEST]
    xx_B11, xy_B11, x_B11, yx_B11, yy_B11, y_B11 = matrix_B6[:, :, None, None].unbind(dim=1)
    # Twice the distance from the middle is a whole number; see `_matrix`.
    x_W = 2 * torch.arange(width, dtype=torch.int32, device=device) - (width - 1)
    y_H1 = 2 * torch.arange(height, dtype=torch.int32, device=device)[:, None] - (height - 1)
    from_x_BHW = (xx_B11 * x_W + (xy_B11 * y_H1 + x_B11)) >> 17
    from_y_BHW = (yx_B11 * x_W + (yy_B11 * y_H1 + y_B11)) >> 17
    outside_BHW = (from_x_BHW < 0) | (from_x_BHW >= width) | (from_y_BHW < 0) | (from_y_BHW >= height)
    source_BHW = (from_y_BHW * width + from_x_BHW).masked_fill_(outside_BHW, 0)
    source_BCP = source_BHW.flatten(1)[:, None].long().expand(-1, images_BCHW.shape[1], -1)
    moved_BCP = images_BCHW.flatten(2).gather(2, source_BCP)
    return moved_BCP.view(images_BCHW.shape).masked_fill_(outside_BHW[:, None], 0)


@lru_cache(maxsize=64)
def _matrices(height: int, width: int, device: torch.device) -> Tensor:
    """Where a pixel comes from, by operation and magnitude: int32 [operations, 61 magnitudes, 6]."""
    magnitudes = range(-STRONGEST, STRONGEST + 1)
    matrices = [[_matrix(name, magnitude, height, width) for magnitude in magnitudes] for name in OPERATIONS]
    return torch.tensor(matrices, dtype=torch.int32, device=device)


def _matrix(name: str, magnitude: int, height: int, width: int) -> tuple[int, ...]:
    """The two rows of the map from a pixel to its source, in 65536ths, for (x, y) = twice the distance from the middle.

    The last number of a row also leads from there to a pixel's number: half of it, rounded down, after adding the side.
    """
    xx, xy, x, yx, yy, y = WHOLE, 0, 0, 0, WHOLE, 0
    slope = round(0.3 * WHOLE * magnitude / STRONGEST)
    if name == "shear_x":  # about the corner, as published
        xy, x = slope, slope * height
    elif name == "shear_y":
        yx, y = slope, slope * width
    elif name == "translate_x":
        x = -2 * WHOLE * int(150 * width * magnitude / (331 * STRONGEST))
    elif name == "translate_y":
        y = -2 * WHOLE * int(150 * height * magnitude / (331 * STRONGEST))
    elif name == "rotate":  # by as many degrees, counter-clockwise
        cosine, sine = (round(WHOLE * of(math.radians(magnitude))) for of in (math.cos, math.sin))
        xx, xy, yx, yy = cosine, -sine, sine, cosine
    return xx, xy, x + WHOLE * width, yx, yy, y + WHOLE * height


def _blended(images_BCHW: Tensor, operation_B: Tensor, magnitude_B: Tensor) -> Tensor:
    """Colour: away from or towards the grey image; sharpness: the smooth one."""
    operation_B111 = operation_B[:, None, None, None]
    is_colour, is_sharpness = operation_B111 == NUMBER["colour"], operation_B111 == NUMBER["sharpness"]
    values_BCHW = images_BCHW.int()
    grey_B1HW = _grey(values_BCHW)[:, None]
    other_BCHW = torch.where(is_sharpness, _smooth(values_BCHW), grey_B1HW)
    factor_B111 = _factor(magnitude_B)[:, None, None, None].where(is_colour | is_sharpness, WHOLE)
    return blend(values_BCHW, other_BCHW, factor_B111)


def _smooth(values_BCHW: Tensor) -> Tensor:
    """The mean of 3·3 pixels, the middle one counted five times; the border stays."""
    rows = values_BCHW[:, :, :-2] + values_BCHW[:, :, 1:-1] + values_BCHW[:, :, 2:]
    inner = values_BCHW[:, :, 1:-1, 1:-1]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    smooth_BCHW = values_BCHW.clone()
    # A rounded division by 13, exact for sums of 13 bytes, and much faster than dividing.
    smooth_BCHW[:, :, 1:-1, 1:-1] = ((sums + 6) * 5042) >> 16
    return smooth_BCHW


def _factor(magnitude: Tensor) -> Tensor:
    """How much of the image a blend keeps, in 65536ths: 10 % at -30, 190 % at 30."""
    return WHOLE + (9 * WHOLE * magnitude) // (10 * STRONGEST)


def _grey(channels: Tensor) -> Tensor:
    """What dim 1 looks like in grey (ITU-R 601-2 for red, green, blue); one channel is its own grey."""
    if channels.shape[1] == 3:
        red, green, blue = channels.unbind(dim=1)
        return (19595 * red + 38470 * green + 7471 * blue + WHOLE // 2) >> 16
    return channels.sum(dim=1, dtype=channels.dtype) // channels.shape[1]
