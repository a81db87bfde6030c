"""A package with models of somebody's own, as pip leaves it: its module, and the metadata that name its factories."""

from collections.abc import Mapping
from pathlib import Path

TINY = """
from torch import nn

def tiny(classes, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes),
    )

def by_size(classes, channels, height, width):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, classes))
"""


def install(
    folder: Path, models: Mapping[str, str], code: str = TINY, *, package: str = "tiny-models", version: str = "1.2"
) -> Path:
    """Put the package into a folder; once that is on Python's path its `models` (name: factory in the module) are
    installed."""
    module = package.replace("-", "_")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"{name} = {module}:{factory}" for name, factory in models.items()]
    (info / "entry_points.txt").write_text("\n".join(["[stillhouse.models]", *lines, ""]))
    return folder
