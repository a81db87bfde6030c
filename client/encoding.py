"""What a call is in HTTP: its path, its body, its query; and numbers that JSON lacks, back from an answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from client.answers import Json
from kd.spec import Config, GuideSpec, TrainSpec


def job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def checkpoint_path(job_id: str, checkpoint: str) -> str:
    return f"{job_path(job_id)}/checkpoints/{quote(checkpoint, safe='')}"


def artifact_path(job_id: str, name: str) -> str:
    return f"{job_path(job_id)}/artifacts/{quote(name, safe='')}"


def sweep_path(sweep_id: str) -> str:
    return f"/sweeps/{quote(sweep_id, safe='')}"


def worker_path(name: str) -> str:
    return f"/workers/{quote(name, safe='')}"


def label_table_path(table_id: str) -> str:
    return f"/label-tables/{quote(table_id, safe='')}"


def teacher_path(teacher_id: str) -> str:
    return f"/teachers/{quote(teacher_id, safe='')}"


def upload_path(upload_id: str) -> str:
    return f"/uploads/{quote(upload_id, safe='')}"


def dataset_path(name: str) -> str:
    return f"/datasets/{quote(name, safe='/')}"


def plain(given: Mapping[str, Any] | TrainSpec | GuideSpec | Config) -> Json:
    """A spec or a config as JSON has it, with what was set only: the server fills in the rest and shows it."""
    return dict(given) if isinstance(given, Mapping) else given.model_dump(mode="json", exclude_unset=True)


def envelope(
    name: str | None,
    labels: Mapping[str, str] | None,
    priority: int | None,
    limits: Mapping[str, float | None] | None,
    keep_last: int | None,
) -> Json:
    """What a job has around its spec, as far as it was given."""
    given = {
        "name": name,
        "labels": None if labels is None else dict(labels),
        "priority": priority,
        "limits": None if limits is None else dict(limits),
        "keep_last": keep_last,
    }
    return {field: value for field, value in given.items() if value is not None}


def filters(
    status: str | None,
    mode: str | None,
    label: str | None,
    q: str | None,
    created_after: str | None,
    everything: bool = False,
) -> dict[str, str | None]:
    """The query that says which jobs; `everything` consents to what has no filter and means every job."""
    found = {"status": status, "mode": mode, "label": label, "q": q, "created_after": created_after}
    return found | {"all": "true"} if everything else found


@dataclass(frozen=True)
class Blocks:
    """A file's content, a part at a time; once more, should the server send us elsewhere."""

    file: Path

    def __iter__(self) -> Iterator[bytes]:
        with self.file.open("rb") as content:
            while block := content.read(1 << 20):
                yield block


def floats(content: Any) -> Any:
    """An answer in which NaN and the infinities, which JSON has as text, are numbers again."""
    if isinstance(content, dict):
        return {key: floats(value) for key, value in content.items()}
    if isinstance(content, list):
        return [floats(value) for value in content]
    return float(content) if content in ("NaN", "Infinity", "-Infinity") else content
