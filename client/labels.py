"""What a `Client` can do with label tables."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Literal

from pydantic import Field

from client.answers import Json, Moment, Part, Size
from client.encoding import Blocks, label_table_path
from client.http import Http

# A server that is busy with other things checks labels so fast, at least.
SLOWEST_BYTES_A_SECOND = 500_000


class LabelTable(Part):
    id: str
    status: str
    size: Size
    dataset: str | None
    teacher_arch: str | None = None
    origin: str | None = None
    remarks: list[str] = Field(default_factory=list)
    used_at: Moment


class Labels:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def label_tables(self) -> Iterator[Json]:
        """What teachers said of whole data sets, shared between jobs; the table used last first."""
        return self._http.pages("/label-tables", {"limit": 100}, LabelTable)

    def label_table(self, table_id: str) -> Json:
        return self._http.request_json("GET", label_table_path(table_id))

    def push_labels(
        self,
        file: str | PathLike[str],
        dataset: str,
        *,
        content: Literal["logits", "probabilities"],
        dataset_digest: str | None = None,
    ) -> Json:
        """Bring labels that were made elsewhere: an `.npy` [images, classes], or an `.npz` with the images' numbers.

        Answers with the table, whose id `teacher: {"labels": …}` names; with the same one for the same file.
        """
        size = Path(file).stat().st_size
        answer = self._http.request(
            "POST",
            "/label-tables",
            content=Blocks(Path(file)),
            params={"dataset": dataset, "content": content, "dataset_digest": dataset_digest},
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            # It checks every row before it answers.
            timeout_seconds=self._http.timeout_seconds + size / SLOWEST_BYTES_A_SECOND,
        )
        return self._http.json_object(answer.content, LabelTable)

    def delete_label_table(self, table_id: str) -> None:
        """Make room for others. A job that needs the table again makes it again."""
        self._http.request("DELETE", label_table_path(table_id))
