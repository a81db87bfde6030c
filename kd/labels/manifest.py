"""What a label table says of itself."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Manifest:
    """What a complete table says of itself. `teacher`, `dataset` and the sha256 are hexadecimal digests."""

    teacher: str
    teacher_arch: str | None
    dataset: str
    dataset_name: str | None
    plan: Mapping[str, Any]
    precision: str
    shape: tuple[int, int, int]  # images, views of each, classes
    sha256: str
    columns: tuple[str, ...]  # of the view parameters
    parameters_sha256: str


def read_manifest(path: Path) -> Manifest | None:
    """None if it has just been removed, or is none of ours."""
    try:
        said = json.loads(path.read_text())
        parameters = said["view_parameters"]
        images, views, classes = (_a(int, length) for length in said["shape"])
        return Manifest(
            teacher=_a(str, said["teacher"]),
            teacher_arch=_a(str | None, said.get("teacher_arch")),
            dataset=_a(str, said["dataset"]),
            dataset_name=_a(str | None, said.get("dataset_name")),
            plan=_a(dict, said["plan"]),
            precision=_a(str, said["precision"]),
            shape=(images, views, classes),
            sha256=_a_sha256(said["sha256"]),
            columns=tuple(_a(str, name) for name in parameters["columns"]),
            parameters_sha256=_a_sha256(parameters["sha256"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _a_sha256(value: Any) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError
    return str(value)
