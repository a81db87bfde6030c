"""What a `Client` can do with students on their way out."""

from collections.abc import Iterator

from client.answers import Job, Json
from client.encoding import job_path
from client.http import Http


class Exports:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def export_student(
        self,
        job_id: str,
        format: str = "onnx",
        *,
        preprocessing: bool | None = None,
        loses_at_most: float | None = None,
        images: int | None = None,
    ) -> Json:
        """Have a file made of a job's best student that runs elsewhere, and held against it. Answers with the job that
        makes it, or has made it: `student-onnx.zip` among its artifacts is the file with all that one needs to run it.
        What is None is the server's default."""
        wanted = {"preprocessing": preprocessing, "loses_at_most": loses_at_most, "images": images}
        given = {name: value for name, value in wanted.items() if value is not None}
        here = f"{job_path(job_id)}/exports"
        return self._http.request_json("POST", here, holds=Job, body={"format": format, **given})

    def exports(self, job_id: str) -> Iterator[Json]:
        """The jobs that have made files of a job's student, or are at it, the newest first."""
        return self._http.pages(f"{job_path(job_id)}/exports", {"limit": 100}, Job)
