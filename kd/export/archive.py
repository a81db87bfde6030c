"""The archive in which a file leaves: how images become what it takes, what its answers mean, how to run it."""

import io
import json
import zipfile
from collections.abc import Mapping
from importlib import resources
from typing import Any

from kd.data.packed_facts import Resized
from kd.models.safetensors.facts import Facts

# Of every file in it: the same export is the same archive, but for the times in `verify.json`.
MADE_AT = (1980, 1, 1, 0, 0, 0)


def archive(
    content: bytes, readme: str, verified: Mapping[str, Any], preprocess: Mapping[str, Any], facts: Facts
) -> bytes:
    """A zip of the ONNX file with all that is to be known of it."""
    files = {
        "README.md": readme.encode(),
        "student.onnx": content,
        "run.py": _ours("runner.py"),
        "preprocess.json": _json(preprocess),
        "classes.json": _json(facts.classes),
        "verify.json": _json(verified),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as into:
        for name, each in files.items():
            entry = zipfile.ZipInfo(name, MADE_AT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            into.writestr(entry, each)
    return packed.getvalue()


def preprocess(
    facts: Facts,
    shape: tuple[int, int, int],
    resized: Resized | None,
    seen: Mapping[str, Any],
    *,
    batch: int | None,
    within: bool,
) -> dict[str, Any]:
    """How an image becomes what the file takes, in steps. `shape` is that of the data set's images, which the model
    sees as `seen` says (`box` and `size`); `within` the file pixels are normalised, and answers made probabilities."""
    channels, height, width = shape
    if resized is not None:
        steps: list[dict[str, Any]] = [
            {"do": "short_side", "side": resized.side, "interpolation": resized.interpolation}
        ]
    else:
        steps = [{"do": "exactly", "size": [height, width]}]
    if seen["size"] != [height, width]:
        steps.append({"do": "box", **seen})
    return {
        "orientation": "as EXIF says",
        "transparency": "on white",
        "mode": "L" if channels == 1 else "RGB",
        "steps": steps,
        "layout": "batch, channels, height, width",
        "batch": batch,
        "takes": "uint8" if within else "float32",
        "gives": "probabilities" if within else "logits",
        "mean": list(facts.mean),
        "std": list(facts.std),
        "normalise": "within the file" if within else "(pixel / 255 - mean) / std",
    }


def readme(verified: Mapping[str, Any], preprocess: Mapping[str, Any], facts: Facts) -> str:
    """For whoever opens the archive and has never heard of us."""
    channels, height, width = facts.shape
    return (
        _ours("readme.md")
        .decode()
        .format(
            title=f"{facts.arch} for {verified['dataset']}",
            whose=f"{verified['made_of'][:1].upper()}{verified['made_of'][1:]}",
            arch=facts.arch,
            images=f"{verified['images']:,}",
            dataset=verified["dataset"],
            takes=preprocess["takes"],
            batch=preprocess["batch"] or "any number",
            gives=preprocess["gives"],
            channels=channels,
            height=height,
            width=width,
            classes=len(facts.classes),
            **{name: verified[name] for name in ("top1", "student_top1", "agreement")},
        )
    )


def _ours(name: str) -> bytes:
    return resources.files("kd.export").joinpath(name).read_bytes()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
