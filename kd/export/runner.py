"""Name what is in images: `python run.py IMAGE...`. It needs numpy, Pillow and onnxruntime, and nothing else.

The files beside it say how an image becomes what the model takes (`preprocess.json`), and what its answers mean
(`classes.json`).
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).parent
PREPROCESS: dict[str, Any] = json.loads((HERE / "preprocess.json").read_text("utf-8"))
CLASSES: list[str] = json.loads((HERE / "classes.json").read_text("utf-8"))


def read(path: str) -> Any:
    """An image as the model takes it: one of a batch, channels first."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert(PREPROCESS["mode"])
    for step in PREPROCESS["steps"]:
        image = STEPS[step["do"]](image, step)
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1).transpose(2, 0, 1)
    if PREPROCESS["takes"] == "uint8":
        return pixels[None]
    mean, std = (np.array(PREPROCESS[name], np.float32)[:, None, None] for name in ("mean", "std"))
    return ((pixels.astype(np.float32) / 255 - mean) / std)[None]


def short_side(image: Image.Image, step: dict[str, Any]) -> Image.Image:
    """Resize so that the short side is as long as said, then cut the middle square."""
    side, (short, long) = step["side"], sorted(image.size)
    if short != side:
        long = int(side * long / short)
        size = (side, long) if image.width < image.height else (long, side)
        image = image.resize(size, Image.Resampling[step["interpolation"].upper()])
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def exactly(image: Image.Image, step: dict[str, Any]) -> Image.Image:
    """Resize to a height and width; an image that has them stays as it is."""
    height, width = step["size"]
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def box(image: Image.Image, step: dict[str, Any]) -> Image.Image:
    """Cut a box, and resize it."""
    top, left, height, width = (step["box"][side] for side in ("top", "left", "height", "width"))
    cut = image.crop((left, top, left + width, top + height))
    return cut.resize(tuple(reversed(step["size"])), Image.Resampling.BILINEAR)


STEPS = {"short_side": short_side, "exactly": exactly, "box": box}


def main(paths: list[str]) -> None:
    session = onnxruntime.InferenceSession(HERE / "student.onnx", providers=["CPUExecutionProvider"])
    for path in paths:
        (answers,) = session.run(None, {"images": read(path)})
        said = answers[0]
        if PREPROCESS["gives"] == "logits":
            said = np.exp(said - said.max())
            said /= said.sum()
        likeliest = sorted(enumerate(said.tolist()), key=lambda each: -each[1])[:5]
        print(json.dumps({"image": path, "says": [[CLASSES[number], share] for number, share in likeliest]}))


if __name__ == "__main__":
    main(sys.argv[1:])
