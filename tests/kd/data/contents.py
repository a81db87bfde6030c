"""What is in a folder, and what is in a split."""

from pathlib import Path

from kd.data.splits import Split


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def rows(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}
