"""Client(url): submit a job, wait for it, see what it said, fetch its student.

    client = Client("http://127.0.0.1:8000")
    job = client.wait(client.submit("train", {"dataset": "mnist5k"})["id"])
    client.download(job["id"], to="student.safetensors")

Jobs, events, checkpoints and workers are the JSON objects of the HTTP API, as dictionaries.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client import answers, curves, download, events, long_poll, sweeps
from client.answers import Json
from client.choices import Choices
from client.datasets import Datasets
from client.encoding import checkpoint_path, envelope, filters, job_path, plain, worker_path
from client.errors import ClientError
from client.exports import Exports
from client.http import Http
from client.labels import Labels
from client.teachers import Teachers
from kd.spec import Config, GuideSpec, TrainSpec


class Unchanged(Enum):
    """What a call does not mention, where None says something."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


class Client(Datasets, Exports, Labels, Teachers, Choices):
    """A Stillhouse server. Every method is one request unless it says otherwise; failures are `ClientError`s."""

    def __init__(self, url: str = "http://127.0.0.1:8000", timeout: float = 30.0):
        self._http = Http(url, timeout)
        self.url = self._http.url
        self.sweeps = sweeps.Sweeps(self._http)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_ready(self) -> bool:
        """Whether the server is there and can take jobs."""
        try:
            self._http.request("GET", "/readyz")
        except ClientError:
            return False
        return True

    # -- asking for work -----------------------------------------------------------------------------------------

    def submit(
        self,
        spec: str | Mapping[str, Any] | TrainSpec | GuideSpec,
        config: Mapping[str, Any] | Config | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        limits: Mapping[str, float | None] | None = None,
        keep_last: int | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Queue a run: a mode and its config, or a whole spec (`{"mode", "config"}`). Answers with the job.

        The request carries an Idempotency-Key (by default a new one) and is sent again if its answer is lost, so that
        there is exactly one job, whatever the network does. `limits` are `max_run_seconds`, `max_queue_seconds` and
        `max_stall_seconds`; `keep_last` is how many of the newest checkpoints are kept beside the best one.
        """
        if isinstance(spec, str):
            body: Json = {"mode": spec, "config": plain(config or {})}
        elif config is not None:
            raise ValueError("Give a mode and a config, or a whole spec, not both.")
        else:
            body = plain(spec)
        body |= envelope(name, labels, priority, limits, keep_last)
        return self._http.post_once("/jobs", body, idempotency_key)

    def retry(
        self,
        job_id: str,
        *,
        patch: Mapping[str, Any] | None = None,
        suggested: bool = False,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        limits: Mapping[str, float | None] | None = None,
        keep_last: int | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Queue a job that is over once more, from its start, as a new job; answers with that one.

        `patch` changes its `{"mode", "config"}` as a JSON merge patch does (None removes a field); `suggested` does
        first what the failed job's `error.suggested_patch` says. What is not given is as it was. Makes exactly one job,
        like `submit`.
        """
        body = envelope(name, labels, priority, limits, keep_last)
        if suggested:
            body["use_suggested_patch"] = True
        if patch is not None:
            body["patch"] = dict(patch)
        return self._http.post_once(f"{job_path(job_id)}/retry", body, idempotency_key)

    # -- asking for changes --------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> Json:
        """Ask for a job's end. Answers with the job; a running one ends a moment later."""
        return self._http.request_json("POST", f"{job_path(job_id)}/cancel", holds=answers.Job)

    def pause(self, job_id: str) -> Json:
        """Ask for a job to be put aside. A running one saves where it stands first, and is `paused` a moment later."""
        return self._http.request_json("POST", f"{job_path(job_id)}/pause", holds=answers.Job)

    def resume(self, job_id: str) -> Json:
        """Queue a paused job again, to go on from its last checkpoint."""
        return self._http.request_json("POST", f"{job_path(job_id)}/resume", holds=answers.Job)

    def change(
        self,
        job_id: str,
        *,
        name: str | Unchanged | None = UNCHANGED,
        labels: Mapping[str, str] | Unchanged = UNCHANGED,
        priority: int | Unchanged = UNCHANGED,
    ) -> Json:
        """Give a job another name (None: none), other labels (these and no more), or another priority."""
        given = {"name": name, "labels": labels, "priority": priority}
        changes = {field: value for field, value in given.items() if value is not UNCHANGED}
        return self._http.request_json("PATCH", job_path(job_id), holds=answers.Job, body=changes)

    def delete(self, job_id: str) -> None:
        """Forget a job that is over, with all its files."""
        self._http.request("DELETE", job_path(job_id))

    def cancel_all(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        everything: bool = False,
    ) -> Json:
        """Ask for the end of all jobs that match, at once; `changed` says of how many.

        Without a filter only `everything=True` means every job.
        """
        return self._http.request_json(
            "POST",
            "/jobs/cancel",
            holds=answers.Bulk,
            params=filters(status, mode, label, q, created_after, everything),
        )

    def delete_all(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        everything: bool = False,
    ) -> Json:
        """Forget all jobs that match and are over, with all their files; `changed` says how many.

        Without a filter only `everything=True` means every job.
        """
        return self._http.request_json(
            "DELETE",
            "/jobs",
            holds=answers.Bulk,
            params=filters(status, mode, label, q, created_after, everything),
        )

    # -- looking on ----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Json:
        return self._http.request_json("GET", job_path(job_id), holds=answers.Job)

    def list(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Json]:
        """All jobs that match, newest first; asks for the next page when it is needed."""
        asked = filters(status, mode, label, q, created_after) | {"limit": page_size}
        return self._http.pages("/jobs", asked, answers.Job)

    def wait(self, job_id: str, timeout: float | None = None, poll: float = 0.5) -> Json:
        """The job once it is over, however it ended; a paused one is waited for until somebody resumes or cancels it.

        Raises `StillRunning` after `timeout` seconds. The server answers when the job changes, and is asked at most
        every `poll` seconds; it may be restarted meanwhile.
        """
        return long_poll.wait(self._http, job_path(job_id), timeout, poll)

    def events(self, job_id: str, after: int = 0, follow: bool = False, poll: float = 0.5) -> Iterator[Json]:
        """What happened after event number `after`, in order; with `follow`, on until the job is over.

        One that follows is told by the server as things happen, also over restarts of the server; where the server has
        no streams, it asks every `poll` seconds.
        """
        if follow:
            return events.follow(self._http, job_path(job_id), after, poll)
        return events.so_far(self._http, job_path(job_id), after)

    def metrics(
        self, job_id: str, names: str | None = None, *, max_points: int | None = None, known: Json | None = None
    ) -> Json:
        """The measured series, as columns: all, or the `names` (`"student.loss,student.lr"`), page after page.

        A longer curve comes in `max_points` (default: the server's 1,000) in which every spike is seen. With an earlier
        answer as `known` only what is new is fetched, and comes at the end of what was. NaN and the infinities, which
        JSON lacks, are floats again.
        """
        return curves.read(self._http, f"{job_path(job_id)}/metrics", names, max_points, known)

    def logs(self, job_id: str, tail: int | None = None) -> str:
        """What the trainer printed; the last `tail` lines of it."""
        answer = self._http.request("GET", f"{job_path(job_id)}/logs", params={"tail": tail})
        return answer.content.decode("utf-8", "replace")

    # -- fetching what came of it --------------------------------------------------------------------------------

    def checkpoints(self, job_id: str) -> Iterator[Json]:
        return self._http.pages(f"{job_path(job_id)}/checkpoints", {}, answers.Checkpoint)

    def checkpoint(self, job_id: str, checkpoint: str = "best") -> Json:
        """One checkpoint, by its id or as `best` or `last`."""
        return self._http.request_json("GET", checkpoint_path(job_id, checkpoint), holds=answers.Checkpoint)

    def artifacts(self, job_id: str) -> Iterator[Json]:
        """The files beside the checkpoints: the teacher's weights, the report."""
        return self._http.pages(f"{job_path(job_id)}/artifacts", {}, answers.Artifact)

    def download(self, job_id: str, checkpoint: str = "best", to: str | PathLike[str] | None = None) -> Path:
        """Fetch a checkpoint's student; answers with where it is.

        `to` is a file, or a folder in which the file is named after job and checkpoint (default: the current one).
        Goes on from a partial file, and puts nothing in place whose sha256 is not what the server promised.
        """
        return download.checkpoint(self._http, job_id, checkpoint, to)

    def download_artifact(self, job_id: str, name: str, to: str | PathLike[str] | None = None) -> Path:
        """Fetch a file that the job wrote beside its checkpoints, in the same way."""
        return download.artifact(self._http, job_id, name, to)

    def report(self, job_id: str) -> Json:
        """Teacher, student and control side by side, with all that was found. As a page it is the artifact
        `report.html`, as a model card `model-card.md`."""
        return self._http.request_json("GET", f"{job_path(job_id)}/report")

    # -- workers -------------------------------------------------------------------------------------------------

    def workers(self) -> Iterator[Json]:
        """Who is there to work, and on what; the one that started last first."""
        return self._http.pages("/workers", {}, answers.Worker)

    def worker(self, name: str) -> Json:
        return self._http.request_json("GET", worker_path(name), holds=answers.Worker)

    def drain(self, name: str) -> Json:
        """Ask a worker to give its job back to the queue, with all that was done of it, and to take no more."""
        return self._http.request_json("POST", f"{worker_path(name)}/drain", holds=answers.Worker)

    def undrain(self, name: str) -> Json:
        """Let a worker take jobs again."""
        return self._http.request_json("POST", f"{worker_path(name)}/undrain", holds=answers.Worker)
