"""An image is the same pixels whatever its file says them in, and one that cannot be read says why."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kd.data.ingest import images
from kd.data.ingest.images import Unreadable, decode, read_header
from kd.machine.torchvision_import import torchvision_transforms
from tests.kd.data.ingest.photos import encoded, photo

PHOTO = photo(0)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
                          ("WEBP", {"lossless": True})],
)  # fmt: skip
def test_what_keeps_all_pixels_is_read_as_it_was(kind: str, options: dict[str, object]) -> None:
    content = encoded(PHOTO, kind, **options)

    assert read_header("a", content) == (24, 32, False, False)
    assert np.array_equal(decode("a", content, gray=False), PHOTO)


def test_a_jpeg_is_nearly_what_it_was() -> None:
    difference = decode("a.jpg", encoded(PHOTO, "JPEG", quality=95), gray=False).astype(int) - PHOTO

    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_the_camera_was_held(kind: str, orientation: int) -> None:
    upright = Image.fromarray(PHOTO)
    # What the camera wrote, so that turning it as EXIF says gives the upright photo.
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = undo.get(orientation, images.TURNED.get(orientation))
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    content = encoded(upright if turn is None else upright.transpose(turn), kind, exif=exif, **lossless(kind))

    read = decode("a", content, gray=False)

    assert read_header("a", content)[:2] == read.shape[:2] == (24, 32)
    assert np.abs(read.astype(int) - PHOTO).mean() < 4


# The last says that it is turned by a text.
TEXT = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0up!\0\0\0\0\0"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exif", [b"Exif\0\0spoilt", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", TEXT])
def test_a_photo_whose_exif_is_spoilt_is_read_as_it_lies(exif: bytes) -> None:
    content = encoded(PHOTO, "JPEG", exif=exif)

    assert read_header("a.jpg", content)[:2] == decode("a.jpg", content, gray=False).shape[:2] == (24, 32)


def lossless(kind: str) -> dict[str, object]:
    return {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})


def png(width: int, height: int, rows: bytes = bytes(99), bits: int = 8, colour: int = 0) -> bytes:
    """A PNG made by hand, of what Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [3, 4])
def test_of_colours_of_16_bits_the_upper_8_are_kept(channels: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65_536, (5, 7, channels)).astype(">u2")
    deep[..., 3:] = 65_535
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    read = decode("a.png", png(7, 5, rows, bits=16, colour=2 if channels == 3 else 6), gray=False)

    assert np.array_equal(read, deep[..., :3] >> 8)


GRAY = photo(1, channels=1)
DEEP = np.random.default_rng(0).integers(0, 65_536, (24, 32), np.uint16)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(GRAY), GRAY),
        (encoded(GRAY, "JPEG", quality=100), GRAY),
        (encoded(DEEP), DEEP >> 8),
        (encoded(DEEP, "TIFF"), DEEP >> 8),
        (encoded(Image.fromarray(GRAY).convert("1")), np.asarray(Image.fromarray(GRAY).convert("1")) * np.uint8(255)),
    ],
    ids=["png", "jpeg", "16 bits", "16 bits in tiff", "1 bit"],
)
def test_gray_stays_one_channel(content: bytes, expected: np.ndarray) -> None:
    read = decode("a", content, gray=True)

    assert read_header("a", content).gray
    assert read.shape == (24, 32, 1)
    assert np.abs(read[..., 0].astype(int) - expected).max() <= 2
    assert np.array_equal(decode("a", content, gray=False), np.repeat(read, 3, axis=2))


def test_what_is_transparent_is_laid_on_white() -> None:
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[:5], alpha[5:10] = 0, 102  # of 255
    expected = np.rint((PHOTO * (alpha / 255)) + 255 * (1 - alpha / 255))
    palette = Image.fromarray(PHOTO).quantize(8)
    clear = palette.getpixel((0, 0))

    read = decode("a", encoded(np.dstack([PHOTO, alpha])), gray=False)
    of_palette = decode("a", encoded(palette, transparency=clear), gray=False)
    gray = decode("a", encoded(np.dstack([GRAY, alpha[..., 0]])), gray=True)

    assert np.abs(read - expected).max() <= 1
    assert of_palette[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(
        of_palette[np.asarray(palette) != clear], np.asarray(palette.convert("RGB"))[np.asarray(palette) != clear]
    )
    assert (gray[:5] == 255).all()
    assert np.array_equal(gray[10:, :, 0], GRAY[10:])


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.fromarray(PHOTO).convert("CMYK"), "TIFF")

    assert np.array_equal(decode("a", content, gray=False), PHOTO)


def test_only_the_photo_of_a_camera_that_appends_previews_is_read() -> None:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "MPO", save_all=True, append_images=[Image.fromarray(photo(9))], quality=95)

    assert np.abs(decode("a.jpg", file.getvalue(), gray=False).astype(int) - PHOTO).mean() < 4


@pytest.mark.parametrize("shape", [(24, 32), (33, 20), (20, 20), (7, 90), (61, 61)])
@pytest.mark.parametrize("side", [20, 32])
def test_resizing_is_what_torchvision_does_with_pillow(shape: tuple[int, int], side: int) -> None:
    image = photo(3, *shape)
    of = torchvision_transforms()
    resize = of.Compose([of.Resize(side, of.InterpolationMode.BICUBIC), of.CenterCrop(side)])
    expected = resize(Image.fromarray(image))

    assert np.array_equal(decode("a", encoded(image), gray=False, side=side), np.asarray(expected))


# -- what is not read --------------------------------------------------------------------------------------------

FRAMES = {"save_all": True, "append_images": [Image.fromarray(photo(9))]}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jpg", encoded(PHOTO, "JPEG")[:-40], "damaged, or was cut off .*truncated"),
        ("a.png", encoded(PHOTO)[:-600], "damaged, or was cut off"),
        ("a.png", encoded(PHOTO, "WEBP")[:-100], "damaged"),
        ("a.bmp", encoded(PHOTO, "BMP")[:-600], "damaged, or was cut off"),
        ("a.tif", encoded(PHOTO, "TIFF")[:-600], "damaged"),
        ("a.jpg", b"", "damaged, or none of JPEG, PNG, WebP, BMP and TIFF"),
        ("a.jpg", b"PK\x03\x04 renamed", "damaged, or none of JPEG"),
        ("a.svg", b"<svg xmlns='...'/>", "it is a drawing, not pixels; export it as JPEG or PNG"),
        ("a.png", b"<?xml version='1.0'?><svg/>", "it is a drawing, not pixels"),
        ("a.pdf", b"%PDF-1.4", "it is a document, not pixels"),
        ("a.HEIC", b"\0\0\0\x18ftypheic", "HEIC is not read; export it as JPEG or PNG"),
        ("a.gif", encoded(PHOTO, "GIF"), "GIF is not read"),
        ("a.webp", encoded(PHOTO, "WEBP", **FRAMES), "several frames, and nothing says which one is meant"),
        ("a.png", encoded(PHOTO, "PNG", **FRAMES), "several frames"),
        ("a.tif", encoded(PHOTO, "TIFF", **FRAMES), "several frames"),
        ("a.tif", encoded((PHOTO / 255.0).astype(np.float32)[..., 0], "TIFF"), r"which of its pixels \(F\) are white"),
        ("a.png", png(60_000, 60_000), "more than 89,000,000 pixels"),
        ("a.png", png(12_000, 9_000), "has 12,000×9,000 pixels; make it smaller"),
        ("a.png", encoded(photo(0, 2, 60_000)), "it is 60,000×2, too long to be made 64 pixels high"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_read_says_why(name: str, content: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        decode(name, content, gray=False, side=64)


KINDS: dict[str, Callable[[], bytes]] = {
    kind: (lambda kind=kind: encoded(PHOTO, kind)) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
}


@settings(max_examples=150)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    places=st.lists(st.tuples(st.floats(0, 0.3), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_a_spoilt_image_is_read_or_says_why(kind: str, places: list[tuple[float, bytes]]) -> None:
    content = bytearray(KINDS[kind]())
    for place, harm in places:
        at = int(place * (len(content) - len(harm)))
        content[at : at + len(harm)] = harm

    try:
        read = decode("a", bytes(content), gray=False, side=16)
    except Unreadable:
        return
    assert (read.shape, read.dtype) == ((16, 16, 3), np.uint8)
