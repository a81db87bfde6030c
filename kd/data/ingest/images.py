"""An image file as pixels of 8 bits, gray or RGB, by rules that do not depend on the program that wrote it.

Turned as its EXIF orientation says; laid on white where it is transparent; of 16 bits the upper 8; CMYK as Pillow turns
it into RGB; colour profiles are not applied. Resized as torchvision's `Resize(side, BICUBIC)` and `CenterCrop(side)` do
it with Pillow: the short side to `side`, antialiased, and a square from the middle.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kd.data.ingest.layouts import READ
from kd.errors import first_line

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF")
# From where Pillow warns as well: 270 MB as RGB.
MOST_PIXELS = 89_000_000
ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = (5, 6, 7, 8)
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
GRAY = ("1", "L", "LA", *SIXTEEN_BITS)
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
TRANSPARENT = ("LA", "PA", "RGBA")
NO_PIXELS = {"svg": "a drawing", "svgz": "a drawing", "ai": "a drawing", "eps": "a drawing", "pdf": "a document"}

# Shapes: H, W = height and width, C = channels.


class Unreadable(Exception):
    """A file that is not read as an image; the message says why, and what to do."""


class Header(NamedTuple):
    """What an image says before its pixels are unpacked."""

    height: int
    width: int
    gray: bool
    deep: bool  # 16 bits for each pixel


def read_header(name: str, content: bytes) -> Header:
    """Raises `Unreadable`."""
    with _open(name, content) as image:
        width, height = image.size
        if _orientation(image) in ON_ITS_SIDE:
            width, height = height, width
        return Header(height, width, image.mode in GRAY, image.mode in SIXTEEN_BITS)


def decode(name: str, content: bytes, *, gray: bool, side: int | None = None) -> NDArray[np.uint8]:
    """The pixels, uint8 [H, W, C]; with a `side`, [side, side, C]. Raises `Unreadable`."""
    with _open(name, content) as image:
        turn = TURNED.get(_orientation(image))
        image.load()
        flat = _of_eight_bits(image)
        if flat.mode != (mode := "L" if gray else "RGB"):
            flat = flat.convert(mode)
        if turn is not None:
            flat = flat.transpose(turn)
        if side is not None:
            flat = _square(flat, side)
        pixels = np.asarray(flat, np.uint8)
        return pixels[:, :, None] if gray else pixels


@contextmanager
def _open(name: str, content: bytes) -> Iterator[Image.Image]:
    """An image that may be read. Whatever fails in it is `Unreadable`: a codec raises anything for a damaged file."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise Unreadable(f"it has {width:,}×{height:,} pixels; make it smaller")
        if _has_more_frames(image):
            raise Unreadable("it has several frames, and nothing says which one is meant; save that one alone")
        if image.mode not in (*GRAY, *COLOUR):
            raise Unreadable(f"nothing says which of its pixels ({image.mode}) are white; save it with 8 bits")
        yield image
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"it has more than {MOST_PIXELS:,} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise Unreadable(_what_it_is(name, content)) from error
    except Exception as error:
        raise Unreadable(f"it is damaged, or was cut off ({first_line(error)[:100]})") from error


def _what_it_is(name: str, content: bytes) -> str:
    suffix = PurePosixPath(name).suffix[1:].lower()
    if content.lstrip()[:4].lower() in (b"<svg", b"<?xm"):
        suffix = "svg"
    if suffix in READ:
        return "it is damaged, or none of JPEG, PNG, WebP, BMP and TIFF"
    what = f"it is {NO_PIXELS[suffix]}, not pixels" if suffix in NO_PIXELS else f"{suffix.upper()} is not read"
    return f"{what}; export it as JPEG or PNG"


def _orientation(image: Image.Image) -> int:
    """As EXIF has it, of an image that is not loaded yet."""
    if image.format == "TIFF":  # Pillow turns it by itself
        return 1
    if image.format == "PNG" and "exif" not in image.info:  # it would be unpacked whole, to look behind the pixels
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (
        Exception
    ):  # what a camera or an editor has spoilt there is no reason to lose the photo: none is shown turned
        return 1


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # a photo, and after it what the camera made of it: previews, depth
        return False
    if image.format != "TIFF":
        return bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)  # to ask for their number would be to walk through all
    except EOFError:
        return False
    return True


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Without transparency, and with at most 8 bits for each value."""
    if image.mode in SIXTEEN_BITS:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _square(image: Image.Image, side: int) -> Image.Image:
    short, long = sorted(image.size)
    if short != side:
        long = int(side * long / short)
        if side * long > MOST_PIXELS:
            raise Unreadable(f"it is {image.width:,}×{image.height:,}, too long to be made {side} pixels high; cut it")
        image = image.resize((side, long) if image.width < image.height else (long, side), Image.Resampling.BICUBIC)
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))
