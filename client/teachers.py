"""What a `Client` can do with teachers that somebody brings."""

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from client.answers import Job, Json, Moment, Part, Size
from client.encoding import Blocks, teacher_path
from client.http import Http

# A server that is busy with other things takes a file so fast, at least.
SLOWEST_BYTES_A_SECOND = 2_000_000


class Brought(Part):
    id: str
    name: str
    architecture: str | None = None
    size: Size
    created_at: Moment


class Teachers:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def push_teacher(
        self,
        file: str | PathLike[str],
        *,
        name: str,
        architecture: str | None = None,
        pixels: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        image_size: tuple[int, int] | None = None,
        interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear",
        classes: Sequence[str] | None = None,
    ) -> Json:
        """Bring a teacher: as one ONNX file, of whatever architecture, or as the safetensors of an `architecture` that
        the server builds, such as `timm/resnet18`.

        `pixels` is what it wants to see of them: `imagenet`, `unit` (0..1), `symmetric` (-1..1), `bytes` (0..255), or
        instead `mean` and `std` of pixels in 0..1; nothing if its input is uint8, or if it sees what is usual with its
        architecture. `image_size` is height and width, where the file or the architecture leaves them open, `classes`
        the data set's in the order of its outputs, if that is another one. Answers with the teacher, whose id
        `teacher: {"upload": …}` names; with the same one for the same file.
        """
        size = Path(file).stat().st_size
        answer = self._http.request(
            "POST",
            "/teachers",
            content=Blocks(Path(file)),
            params={
                "name": name,
                "architecture": architecture,
                "pixels": pixels,
                "mean": None if mean is None else ",".join(map(str, mean)),
                "std": None if std is None else ",".join(map(str, std)),
                "image_size": None if image_size is None else "x".join(map(str, image_size)),
                "interpolation": interpolation,
                "classes": None if classes is None else json.dumps(list(classes), ensure_ascii=False),
            },
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            timeout_seconds=self._http.timeout_seconds + size / SLOWEST_BYTES_A_SECOND,
        )
        return self._http.json_object(answer.content, Brought)

    def teachers(self) -> Iterator[Json]:
        """Those that somebody has brought, the newest first."""
        return self._http.pages("/teachers", {"limit": 100}, Brought)

    def evaluate_teacher(
        self,
        teacher_id: str,
        dataset: str,
        *,
        splits: Sequence[str] | None = None,
        images: int | None = None,
        input_size: int | None = None,
        validation_fraction: float | None = None,
    ) -> Json:
        """See how good a teacher is on a data set, and which labels it doubts, before it teaches. Answers with the job
        that does it; its report is that of other jobs. What is None is the server's default."""
        wanted: Json = {"splits": None if splits is None else list(splits), "images": images}
        wanted |= {"input_size": input_size, "validation_fraction": validation_fraction}
        given = {name: value for name, value in wanted.items() if value is not None}
        here = f"{teacher_path(teacher_id)}/evaluate"
        return self._http.request_json("POST", here, holds=Job, body={"dataset": dataset, **given})

    def delete_teacher(self, teacher_id: str) -> None:
        """Jobs that have ended keep what they wrote of it."""
        self._http.request("DELETE", teacher_path(teacher_id))
